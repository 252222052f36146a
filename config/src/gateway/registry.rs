//! `[registry]`: who knows where services are.

use std::path::PathBuf;
use std::time::Duration;

use super::RegistryPlace;
use crate::keys::{Key, names};
use crate::reader::{Reading, Said, Section, Wrong};
use crate::secret::Secret;
use crate::values;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "url",
        kind: "URL",
        default: None,
        absent: "the embedded registry",
        example: "\"http://registry:8888\"",
        what: "The registry to read. Which protocol it speaks is found out.",
        why: "",
    },
    Key {
        name: "embedded",
        kind: "address",
        default: Some("\"127.0.0.1:8888\""),
        absent: "",
        example: "\"127.0.0.1:8889\"",
        what: "Run a registry inside this process, listening here. Not together with `url`.",
        why: "One process is enough to start with; its registrations do not outlive it.",
    },
    Key {
        name: "token_file",
        kind: "path",
        default: None,
        absent: "VERTICE_REGISTRY_TOKEN or REGISTRY_AUTH_TOKEN, else no token",
        example: "\"/run/secrets/registry-token\"",
        what: "A file that holds the token and nothing else (a line end is cut).",
        why: "A token in this file would end up in a repository, in a ticket or on a screen.",
    },
    Key {
        name: "request_timeout",
        kind: "duration",
        default: Some("\"2s\""),
        absent: "",
        example: "\"5s\"",
        what: "For one read of the registry; a long poll has its wait on top.",
        why: "What the original gateway waits.",
    },
    Key {
        name: "poll_interval",
        kind: "duration",
        default: Some("\"5s\""),
        absent: "",
        example: "\"1s\"",
        what: "Between two reads of a registry that cannot be watched.",
        why: "How long the original gateway trusts what it read.",
    },
];

/// What the file says; `None` is for the other sources to fill.
#[derive(Debug, Default)]
pub(super) struct RegistrySpec {
    pub(super) place: Option<Said<RegistryPlace>>,
    pub(super) token: Option<Secret>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) poll_interval: Option<Duration>,
}

/// Reads the section; the token's file only when `token_wanted` (no variable has it).
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>, token_wanted: bool) -> RegistrySpec {
    let mut known = names(KEYS);
    // Known, so that it gets a better answer than "not a key".
    known.push("token");
    let Some(section) = root.section(reading, "registry", &known) else { return RegistrySpec::default() };
    if let Some(at) = section.place_of("token") {
        reading.mistake(
            &at,
            "`registry.token` would put a secret into this file",
            "secrets come from `token_file` or from the environment (VERTICE_REGISTRY_TOKEN)",
        );
    }
    let url = section.value(reading, "url", values::service_url);
    let embedded = section.value(reading, "embedded", values::address);
    if let (Some(_), Some(embedded)) = (&url, &embedded) {
        reading.mistake(
            &embedded.at,
            "`registry.embedded` and `registry.url` are both given",
            "keep one: `url` for a registry elsewhere, `embedded` for one in this process",
        );
    }
    let token = section.value(reading, "token_file", |value| {
        let path = values::path(value)?;
        if token_wanted { read_token(&path).map(Some) } else { Ok(None) }
    });
    let place = url
        .map(|said| Said { value: RegistryPlace::Remote(said.value), at: said.at })
        .or_else(|| embedded.map(|said| Said { value: RegistryPlace::Embedded(said.value), at: said.at }));
    RegistrySpec {
        place,
        token: token.and_then(|said| said.value),
        request_timeout: section.value(reading, "request_timeout", values::duration).map(|said| said.value),
        poll_interval: section.value(reading, "poll_interval", values::duration).map(|said| said.value),
    }
}

fn read_token(path: &PathBuf) -> Result<Secret, Wrong> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Wrong::new(
            format!("names {shown}, which cannot be read: {error}"),
            "name a file that this process can read",
        )
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Wrong::new(format!("names {shown}, which is empty"), "put the token into it"));
    }
    Ok(Secret::new(text))
}
