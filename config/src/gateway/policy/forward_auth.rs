//! `[forward_auth.NAME]`: a service that decides about each request.

use std::time::Duration;

use http::header::HeaderName;
use toml::de::DeValue;
use vertice_registry_api::ServiceName;

use super::jwt::own_field;
use crate::gateway::edits::{Message, name as field_name};
use crate::gateway::path;
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Said, Section};
use crate::values;

/// Every request waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One service that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuthConfig {
    /// How routes name it.
    pub name: String,
    /// Who is asked.
    pub service: ServiceName,
    /// Under which path.
    pub path: String,
    /// For its answer's head.
    pub timeout: Duration,
    /// Fields of the request that it is shown.
    pub request_headers: Vec<HeaderName>,
    /// Fields of its answer that go on with the request, in the place of what clients say.
    pub response_headers: Vec<HeaderName>,
}

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "service",
        kind: "service name",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"auth_service\"",
        what: "Who is asked: with the connections, the health and the balancing of any service. One that is not registered has its URL \
               in `fallback` of a `[[service]]`.",
        why: "",
    },
    Key {
        name: "path",
        kind: "path",
        default: Some("\"/\""),
        absent: "",
        example: "\"/verify\"",
        what: "Asked with GET and no body. What the client asked for is in `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`.",
        why: "",
    },
    Key {
        name: "timeout",
        kind: "duration",
        default: Some("\"2s\""),
        absent: "",
        example: "\"500ms\"",
        what: "For its answer. Past it, and when it cannot be reached or answers 5xx, the request is refused with 503.",
        why: "Every request of its routes waits for it.",
    },
    Key {
        name: "request_headers",
        kind: "list of names",
        default: Some("[\"authorization\", \"cookie\"]"),
        absent: "",
        example: "[\"cookie\"]",
        what: "Fields of the request that it is shown, as they came.",
        why: "What most such services look at.",
    },
    Key {
        name: "response_headers",
        kind: "list of names",
        default: Some("[]"),
        absent: "",
        example: "[\"x-user-id\"]",
        what: "Fields of its 2xx answer that go on with the request. On every route, they are taken out of what clients send.",
        why: "",
    },
];

/// Every one.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Vec<ForwardAuthConfig> {
    let sections = root.named_sections(reading, "forward_auth", &names(KEYS));
    sections.into_iter().filter_map(|(name, section)| read_one(reading, name, &section)).collect()
}

fn read_one(reading: &mut Reading<'_>, name: String, section: &Section<'_, '_>) -> Option<ForwardAuthConfig> {
    let service = section.wanted(reading, "service", "\"auth_service\"", values::service_name);
    let path = section.value(reading, "path", path::read);
    let timeout = section.value(reading, "timeout", values::duration);
    let shown = section.list(reading, "request_headers", "[\"cookie\"]", shown_field).map(plain);
    let own = |value: &DeValue<'_>| own_field(values::text(value)?);
    let copied = section.list(reading, "response_headers", "[\"x-user-id\"]", own).map(plain);
    Some(ForwardAuthConfig {
        name,
        service: service?.value,
        path: path.map_or_else(|| "/".to_owned(), |said| said.value),
        timeout: timeout.map_or(TIMEOUT, |said| said.value),
        request_headers: shown.unwrap_or_else(|| vec![http::header::AUTHORIZATION, http::header::COOKIE]),
        response_headers: copied.unwrap_or_default(),
    })
}

fn shown_field(value: &DeValue<'_>) -> Outcome<HeaderName> {
    field_name(values::text(value)?, Message::Request)
}

fn plain(said: Said<Vec<Said<HeaderName>>>) -> Vec<HeaderName> {
    said.value.into_iter().map(|item| item.value).collect()
}
