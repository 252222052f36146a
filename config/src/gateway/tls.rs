//! `[listener.tls]`: HTTPS at a listener. What the files hold is judged by who opens them, the gateway.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::{CertificateConfig, ClientAuthConfig, HostPattern, ListenerTlsConfig, TlsVersion, host};
use crate::keys::{Key, names};
use crate::place::Placed;
use crate::reader::{Outcome, Reading, Said, Section, Wrong};
use crate::values;

/// Each costs about a fifth of a millisecond that requests of the same worker wait.
const HANDSHAKES: RangeInclusive<usize> = 1..=1024;

const DEFAULT_HANDSHAKES: usize = 4;
const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

const PAIR: [&str; 2] = ["cert", "key"];
const PAIR_EXAMPLE: &str = "[{ cert = \"/etc/tls/a.pem\", key = \"/etc/tls/a.key\" }]";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "certificates",
        kind: "list of { cert, key }",
        default: None,
        absent: "those of `directory`",
        example: "[{ cert = \"/etc/vertice/a.pem\", key = \"/etc/vertice/a.key\" }]",
        what: "PEM files: a chain, the server's own certificate first, and its key. Which one a client gets is decided by the \
               names in them: an exact name before `*.` and the rest.",
        why: "The files are watched: changed ones are used for new connections within two seconds.",
    },
    Key {
        name: "directory",
        kind: "path",
        default: None,
        absent: "only `certificates`",
        example: "\"/etc/vertice/tls\"",
        what: "A folder of pairs: `NAME.crt` or `NAME.pem` with `NAME.key` beside it. Other files in it are not looked at.",
        why: "The form of certificate tools and of mounted secrets; what comes into the folder is used without a restart.",
    },
    Key {
        name: "default",
        kind: "host",
        default: None,
        absent: "the first of `certificates`, else the first of `directory` by file name",
        example: "\"www.example.com\"",
        what: "Who asks for no name, or for one that no certificate has, gets the certificate of this name.",
        why: "Old clients and probes send no name.",
    },
    Key {
        name: "min_version",
        kind: "\"1.2\" or \"1.3\"",
        default: Some("\"1.2\""),
        absent: "",
        example: "\"1.3\"",
        what: "The oldest TLS version that is spoken.",
        why: "1.2 with its modern ciphers is sound, and older SDKs know nothing newer.",
    },
    Key {
        name: "client_ca",
        kind: "path",
        default: None,
        absent: "clients are not asked for certificates",
        example: "\"/etc/vertice/clients.pem\"",
        what: "PEM file of the authorities whose client certificates are believed.",
        why: "Who a client proved to be is told to the service: see [TLS](../tls.md).",
    },
    Key {
        name: "client_auth",
        kind: "\"optional\" or \"required\"",
        default: None,
        absent: "\"required\" where `client_ca` is given",
        example: "\"optional\"",
        what: "Whether a client may come without a certificate. One that does not verify is refused in either case.",
        why: "",
    },
    Key {
        name: "handshake_timeout",
        kind: "duration",
        default: Some("\"5s\""),
        absent: "",
        example: "\"2s\"",
        what: "From the connection to the end of its handshake; closed beyond.",
        why: "A handshake is two round trips; who needs longer holds the place on purpose.",
    },
    Key {
        name: "handshakes",
        kind: "integer, 1 to 1024",
        default: Some("4"),
        absent: "",
        example: "16",
        what: "Handshakes that a worker computes in one go, before requests that wait are served.",
        why: "Each is a fifth of a millisecond of computing: a flood of them delays a request by less than one.",
    },
];

/// The `tls` of one listener.
pub(super) fn read(reading: &mut Reading<'_>, listener: &Section<'_, '_>) -> Option<ListenerTlsConfig> {
    let section = listener.section(reading, "tls", &names(KEYS))?;
    let certificates = pairs(reading, &section);
    let directory = placed_path(reading, &section, "directory");
    if section.place_of("certificates").is_none() && section.place_of("directory").is_none() {
        reading.missing(
            &section.at,
            "`listener.tls` names no certificate",
            format!("write certificates = {PAIR_EXAMPLE}, or directory = \"/etc/tls\""),
        );
    }
    let default_name = section.value(reading, "default", host_name).map(|said| place(reading, said));
    let min_version = section.value(reading, "min_version", version);
    let timeout = section.value(reading, "handshake_timeout", values::duration);
    let handshakes =
        section.value(reading, "handshakes", |v| values::number(v, *HANDSHAKES.start(), *HANDSHAKES.end()));
    Some(ListenerTlsConfig {
        certificates,
        directory,
        default_name,
        min_version: min_version.map_or(TlsVersion::V12, |said| said.value),
        client_auth: client_auth(reading, &section),
        handshake_timeout: timeout.map_or(DEFAULT_HANDSHAKE_TIMEOUT, |said| said.value),
        handshakes: handshakes.map_or(DEFAULT_HANDSHAKES, |said| said.value),
        at: reading.place(&section.at),
    })
}

fn pairs(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Vec<CertificateConfig> {
    let mut found = Vec::new();
    if section.list_is_empty("certificates") {
        let at = section.place_of("certificates").unwrap_or_else(|| section.at.clone());
        reading.mistake(
            &at,
            "`listener.tls.certificates` is empty",
            format!("give at least one: {PAIR_EXAMPLE}"),
        );
    }
    for pair in section.sections(reading, "certificates", &PAIR) {
        let cert = pair.wanted(reading, "cert", "\"/etc/tls/a.pem\"", values::path);
        let key = pair.wanted(reading, "key", "\"/etc/tls/a.key\"", values::path);
        if let (Some(cert), Some(key)) = (cert, key) {
            found.push(CertificateConfig { cert: place(reading, cert), key: place(reading, key) });
        }
    }
    found
}

fn client_auth(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> ClientAuthConfig {
    let ca = placed_path(reading, section, "client_ca");
    let wanted = section.value(reading, "client_auth", |value| match values::text(value)? {
        "optional" => Ok(false),
        "required" => Ok(true),
        other => Err(Wrong::new(
            format!("is {}", shorten(other)),
            "give \"optional\" or \"required\"; without `client_ca` clients are not asked",
        )),
    });
    match (ca, wanted) {
        (Some(ca), None) => ClientAuthConfig::Required(ca),
        (Some(ca), Some(wanted)) if wanted.value => ClientAuthConfig::Required(ca),
        (Some(ca), Some(_)) => ClientAuthConfig::Optional(ca),
        (None, Some(wanted)) => {
            reading.missing(
                &wanted.at,
                "`listener.tls.client_auth` is given, and no `client_ca` to judge certificates by",
                "write client_ca = \"/path/clients.pem\"",
            );
            ClientAuthConfig::None
        }
        (None, None) => ClientAuthConfig::None,
    }
}

/// A file or folder with its place.
pub(super) fn placed_path(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    key: &str,
) -> Option<Placed<PathBuf>> {
    section.value(reading, key, values::path).map(|said| place(reading, said))
}

fn place<T>(reading: &Reading<'_>, said: Said<T>) -> Placed<T> {
    Placed { at: reading.place(&said.at), value: said.value }
}

fn version(value: &DeValue<'_>) -> Outcome<TlsVersion> {
    match value.as_str() {
        Some("1.2") => Ok(TlsVersion::V12),
        Some("1.3") => Ok(TlsVersion::V13),
        _ => Err(Wrong::new("is no version that is spoken", "give \"1.2\" or \"1.3\", in quotes")),
    }
}

/// One name or address, no pattern.
pub(super) fn host_name(value: &DeValue<'_>) -> Outcome<String> {
    match host::read(value)? {
        HostPattern::Exact(name) => Ok(name),
        HostPattern::Wildcard(name) => Err(Wrong::new(
            format!("is {}, a pattern", shorten(&format!("*.{name}"))),
            format!("give one name, like \"www.{}\"", shorten(&name).trim_matches('\'')),
        )),
    }
}
