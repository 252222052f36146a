//! `[registry]`: who knows where services are.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::{RegistryPlace, WhenStale};
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Said, Section, Wrong};
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
        what: "A file that holds the token and nothing else (a line end is cut). Read again with each reload.",
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
    Key {
        name: "stale_after",
        kind: "duration from 1m, or \"never\"",
        default: Some("\"never\""),
        absent: "",
        example: "\"1h\"",
        what: "How long what was last known of a service counts without a word of the registry; what happens then says \
               `when_stale`. A registry that can only be polled is asked about each service every half minute.",
        why: "A registry that is away says nothing about services: they go on serving.",
    },
    Key {
        name: "when_stale",
        kind: "\"serve\" or \"refuse\"",
        default: Some("\"serve\""),
        absent: "",
        example: "\"refuse\"",
        what: "Past `stale_after`: `serve` goes on and marks the service as stale, `refuse` answers 503 with the reason \
               `stale`.",
        why: "An old address is right more often than no answer.",
    },
];

/// A registry that is polled is asked about each service every 30 s or so; one lost answer must not be an outage.
const SHORTEST_STALE_AFTER: Duration = Duration::from_mins(1);

/// What the file says; `None` is for the other sources to fill.
#[derive(Debug, Default)]
pub(super) struct RegistrySpec {
    pub(super) place: Option<Said<RegistryPlace>>,
    pub(super) token: Option<Secret>,
    pub(super) request_timeout: Option<Duration>,
    pub(super) poll_interval: Option<Duration>,
    pub(super) stale_after: Option<Duration>,
    pub(super) when_stale: WhenStale,
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
        stale_after: section.value(reading, "stale_after", duration_or_never).and_then(|said| said.value),
        when_stale: section
            .value(reading, "when_stale", when_stale)
            .map_or_else(WhenStale::default, |s| s.value),
    }
}

fn duration_or_never(value: &DeValue<'_>) -> Outcome<Option<Duration>> {
    if value.as_str() == Some("never") {
        return Ok(None);
    }
    let more = |wrong: Wrong| Wrong::new(wrong.what, format!("{}, or \"never\" for no limit", wrong.right));
    let after = values::duration(value).map_err(more)?;
    if after < SHORTEST_STALE_AFTER {
        return Err(Wrong::new(
            format!("is {after:?}"),
            "give at least \"1m\" (services go without a word for that long although all is well), or \"never\"",
        ));
    }
    Ok(Some(after))
}

fn when_stale(value: &DeValue<'_>) -> Outcome<WhenStale> {
    match values::text(value)? {
        "serve" => Ok(WhenStale::Serve),
        "refuse" => Ok(WhenStale::Refuse),
        other => Err(Wrong::new(format!("is {}", shorten(other)), "give \"serve\" or \"refuse\"")),
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
    if http::HeaderValue::from_str(text).is_err() {
        let wrong = format!("names {shown}, which has characters that no header can carry");
        return Err(Wrong::new(wrong, "put the token into it and nothing else"));
    }
    Ok(Secret::new(text))
}
