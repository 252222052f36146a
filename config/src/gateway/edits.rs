//! `request_headers` and `response_headers`: which header fields are removed, set and added on the way.

use std::ops::Range;

use http::header::{HeaderName, HeaderValue};
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::{HeaderEdit, HeaderEdits};
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Section, Wrong, understand};
use crate::values;

/// A proxy that adds more than this to every message has lost its way.
const EDITS: usize = 64;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "request",
        kind: "table of `set`, `add`, `remove`",
        default: None,
        absent: "nothing is changed",
        example: "{ set = { x-gateway = \"edge\" }, remove = [\"x-debug\"] }",
        what: "Changes to the header fields of requests on their way to services.",
        why: "Those of the route come after it.",
    },
    Key {
        name: "response",
        kind: "table of `set`, `add`, `remove`",
        default: None,
        absent: "nothing is changed",
        example: "{ set = { x-content-type-options = \"nosniff\" }, remove = [\"server\"] }",
        what: "Changes to the header fields of answers, also of those that the gateway makes itself.",
        why: "Those of the route come after it.",
    },
];

const EDIT_KEYS: [&str; 3] = ["set", "add", "remove"];

/// Whose headers are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

/// What `[headers]` says about all messages.
pub(super) fn read_general(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> HeaderEdits {
    let Some(section) = root.section(reading, "headers", &names(KEYS)) else { return HeaderEdits::default() };
    HeaderEdits {
        request: read(reading, &section, "request", Message::Request),
        response: read(reading, &section, "response", Message::Response),
    }
}

/// The changes that the table `key` asks for, in the order in which they are made: remove, set, add.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    key: &str,
    message: Message,
) -> Vec<HeaderEdit> {
    let Some(table) = section.section(reading, key, &EDIT_KEYS) else { return Vec::new() };
    let mut edits: Vec<HeaderEdit> = Vec::new();
    let removed = table.list(reading, "remove", "[\"x-debug\"]", |value| name(values::text(value)?, message));
    for said in removed.map(|list| list.value).unwrap_or_default() {
        once(reading, &table, &edits, &said.value, &said.at);
        edits.push(HeaderEdit::Remove(said.value));
    }
    for key in ["set", "add"] {
        for (field, edit) in pairs(reading, &table, key, message) {
            once(reading, &table, &edits, edit.name(), &field);
            edits.push(edit);
        }
    }
    if edits.len() > EDITS {
        let wrong = format!("`{}` changes {} header fields", section.path_of(key), edits.len());
        reading.mistake(&table.at, wrong, format!("at most {EDITS} are changed in one place"));
    }
    edits
}

/// The fields and values of the table `key`, to be set.
pub(super) fn read_pairs(
    reading: &mut Reading<'_>,
    table: &Section<'_, '_>,
    key: &str,
    message: Message,
) -> Vec<HeaderEdit> {
    pairs(reading, table, key, message).into_iter().map(|(_, edit)| edit).collect()
}

fn pairs(
    reading: &mut Reading<'_>,
    table: &Section<'_, '_>,
    key: &str,
    message: Message,
) -> Vec<(Range<usize>, HeaderEdit)> {
    let path = table.path_of(key);
    let mut edits = Vec::new();
    for (field, value) in table.pairs(reading, key, "{ x-gateway = \"edge\" }") {
        let name = name(field.value, message);
        if let Err(wrong) = &name {
            reading.mistake(&field.at, format!("`{path}` {}", wrong.what), wrong.right.clone());
        }
        let value = understand(reading, &path, value, field_value);
        let (Ok(name), Some(value)) = (name, value) else { continue };
        let edit = if key == "add" { HeaderEdit::Add } else { HeaderEdit::Set };
        edits.push((field.at, edit(name, value.value)));
    }
    edits
}

/// One field can be removed, or set, or added; two of them at once contradict each other.
fn once(
    reading: &mut Reading<'_>,
    table: &Section<'_, '_>,
    edits: &[HeaderEdit],
    name: &HeaderName,
    at: &Range<usize>,
) {
    if edits.iter().any(|edit| edit.name() == name) {
        let wrong = format!("`{}` changes {name} twice (case does not matter)", table.path());
        reading.mistake(
            at,
            wrong,
            "name each header once: `set` replaces what was there before, so it needs no `remove`",
        );
    }
}

impl HeaderEdit {
    /// Which field.
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::Remove(name) | Self::Set(name, _) | Self::Add(name, _) => name,
        }
    }
}

/// A field's name, unless it is not an operator's to change.
pub(super) fn name(text: &str, message: Message) -> Outcome<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(
            format!("has the name {}", shorten(text)),
            "a header's name has letters, digits and - only, like \"x-canary\"",
        )
    })?;
    let why = reserved(name.as_str()).or_else(|| match (message, name.as_str()) {
        (Message::Request, "host") => {
            Some("the host is what the client asked for; services find it in Host and X-Forwarded-Host")
        }
        (Message::Response, "x-vertice-reason") => Some("`reason_header` says whether the gateway sends it"),
        (Message::Response, "strict-transport-security") => {
            Some("it is for answers over TLS alone: use `hsts` of the listener")
        }
        _ => None,
    });
    match why {
        None => Ok(name),
        Some(why) => Err(Wrong::new(format!("has the name '{name}'"), format!("leave it out: {why}"))),
    }
}

/// A value as it goes over the wire.
pub(super) fn field_value(value: &DeValue<'_>) -> Outcome<HeaderValue> {
    let text = values::text(value)?;
    // Spaces at the ends never arrive: they are not a part of a header's value (RFC 9110, section 5.5).
    HeaderValue::from_str(text).ok().filter(|_| text.is_ascii() && text.trim() == text).ok_or_else(|| {
        Wrong::new(
            format!("has the value {}", shorten(text)),
            "give printable ASCII without spaces at its ends",
        )
    })
}

/// Why the field `name` (in lower case) is not an operator's to change, in either direction; `None`: it is.
pub fn reserved(name: &str) -> Option<&'static str> {
    // As services read it: many take an underscore for a dash.
    let name = name.replace('_', "-");
    match name.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "upgrade"
        | "expect"
        | "proxy-authorization"
        | "http2-settings" => Some("it is about one connection, and each side of the gateway has its own"),
        "transfer-encoding" | "content-length" => {
            Some("it says where the message ends; the gateway makes it anew")
        }
        "content-encoding" | "content-range" => {
            Some("it says how the body is written, and the body stays as it is")
        }
        "x-request-id" | "via" => Some("the gateway signs every message with it"),
        "x-real-ip" | "forwarded" => {
            Some("the gateway tells with it who the client is; see `trusted_proxies`")
        }
        "client-cert" | "client-cert-chain" => Some("the gateway tells with it who the client proved to be"),
        other if other.starts_with("x-forwarded-") => {
            Some("the gateway tells with it who the client is; see `trusted_proxies`")
        }
        other if other.starts_with("x-client-cert-") => {
            Some("the gateway tells with it who the client proved to be")
        }
        other if other.starts_with("sec-websocket-") => {
            Some("it is the handshake of a WebSocket, between the client and the service")
        }
        _ => None,
    }
}
