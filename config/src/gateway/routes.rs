//! `[[route]]`: which requests go where, beyond `/v2/{service}/`, which needs no route.

use std::collections::BTreeMap;
use std::ops::Range;

use http::Method;
use http::header::{HeaderName, HeaderValue};
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::edits::Message;
use super::policy::{self, PoliciesConfig};
use super::{Bound, HeaderEdits, HeaderPattern, HostPattern, PathPattern, RouteConfig, TimeoutsConfig};
use super::{actions, edits, host, limits, listeners, path, timeouts};
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Said, Section, Wrong, understand};
use crate::{suggest, values};

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: "word",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"core\"",
        what: "How logs, metrics and `explain` call the route; unique.",
        why: "",
    },
    Key {
        name: "host",
        kind: "host",
        default: None,
        absent: "every host",
        example: "\"*.example.com\"",
        what: "The host of the request: a name, or `*.` and a name for everything below it. No port; case does not matter.",
        why: "",
    },
    Key {
        name: "path",
        kind: "path",
        default: None,
        absent: "`prefix` must be given",
        example: "\"/api/maximus/status\"",
        what: "Exactly this path. Not together with `prefix`.",
        why: "Compared byte for byte, so it is written as it stands in a request.",
    },
    Key {
        name: "prefix",
        kind: "path",
        default: None,
        absent: "`path` must be given",
        example: "\"/core\"",
        what: "This path and everything below it: `/core` is for `/core` and `/core/x`, not for `/corex`.",
        why: "",
    },
    Key {
        name: "methods",
        kind: "list of methods",
        default: None,
        absent: "every method",
        example: "[\"GET\", \"HEAD\"]",
        what: "The methods of the request.",
        why: "",
    },
    Key {
        name: "headers",
        kind: "table of texts",
        default: None,
        absent: "no header is asked for",
        example: "{ x-canary = \"yes\", x-tenant = \"*\" }",
        what: "Headers that must all be there with this value; `\"*\"`: with any value.",
        why: "",
    },
    Key {
        name: "service",
        kind: "service name",
        default: None,
        absent: "`redirect` or `answer` must be given",
        example: "\"maximus_core_service\"",
        what: "Where matching requests go. The registry need not know it yet.",
        why: "",
    },
    Key {
        name: "redirect",
        kind: "table of `to`, `status`",
        default: None,
        absent: "`service` or `answer` must be given",
        example: "{ to = \"https://www.example.com{path}{query}\", status = 308 }",
        what: "Clients are sent to `to`: a URL or a path, in which `{path}` is the path of the request, `{rest}` what follows the \
               `prefix`, `{query}` the query with its `?`. `status` is 301, 302, 307 or 308; 307 where it is left out.",
        why: "The host is written out: no request can name another one. 307 keeps the method, and no browser remembers it.",
    },
    Key {
        name: "answer",
        kind: "table of `status`, `body`, `content_type`, `retry_after`, `headers`",
        default: None,
        absent: "`service` or `redirect` must be given",
        example: "{ status = 503, body = \"Back at noon.\", retry_after = \"10m\" }",
        what: "The gateway answers this by itself. `content_type` is `text/plain; charset=utf-8` where it is left out; `body` has at \
               most 256 KiB.",
        why: "For maintenance: a 503 says `Retry-After: 60` unless `retry_after` says otherwise.",
    },
    Key {
        name: "request_headers",
        kind: "table of `set`, `add`, `remove`",
        default: None,
        absent: "what `[headers] request` says",
        example: "{ set = { x-tenant = \"blue\" }, remove = [\"cookie\"] }",
        what: "Changes to the header fields of requests on their way to the service, after those of `[headers]`.",
        why: "",
    },
    Key {
        name: "response_headers",
        kind: "table of `set`, `add`, `remove`",
        default: None,
        absent: "what `[headers] response` says",
        example: "{ set = { cache-control = \"no-store\" } }",
        what: "Changes to the header fields of answers, after those of `[headers]`.",
        why: "",
    },
    Key {
        name: "strip_prefix",
        kind: "true or false",
        default: Some("false"),
        absent: "",
        example: "true",
        what: "Take the matched prefix away: `/core/x` arrives as `/x`. Only with `prefix`.",
        why: "",
    },
    Key {
        name: "replace_prefix",
        kind: "path",
        default: None,
        absent: "the path stays",
        example: "\"/api/v1\"",
        what: "Put this in the place of the matched prefix. Only with `prefix`, not together with `strip_prefix`.",
        why: "",
    },
    Key {
        name: "body_bytes",
        kind: "size, 0 to 1TiB, or \"none\"",
        default: None,
        absent: "that of the listener",
        example: "\"64KiB\"",
        what: "Bytes of a request's body; 413 beyond.",
        why: "Most services take small bodies, and one takes uploads.",
    },
    policy::AUTH,
    Key {
        name: "timeouts",
        kind: "table",
        default: None,
        absent: "those of the listener",
        example: "{ first_byte = \"120s\" }",
        what: "Time limits of this route, with the keys of `[timeouts]`; what is left out is taken from the listener, and then from there.",
        why: "",
    },
];

/// The methods that a route can name. CONNECT asks for a tunnel, which no route offers.
const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// Everything that a request must have, in one order, for finding routes that are the same.
type Match = (Option<HostPattern>, PathPattern, Vec<String>, Vec<(String, Option<Vec<u8>>)>);

/// What holds for a route that says nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bases<'a> {
    pub(super) timeouts: &'a TimeoutsConfig,
    pub(super) edits: &'a HeaderEdits,
    pub(super) policies: &'a PoliciesConfig,
}

/// The routes of the file, in its order.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>, bases: &Bases<'_>) -> Vec<RouteConfig> {
    let mut seen_names: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen_matches: BTreeMap<Match, usize> = BTreeMap::new();
    let mut routes = Vec::new();
    let known: Vec<&'static str> = names(KEYS).into_iter().chain(names(policy::KEYS)).collect();
    for section in root.sections(reading, "route", &known) {
        let name = section.wanted(reading, "name", "\"core\"", listeners::word);
        if let Some(name) = &name {
            let line = reading.line(&name.at);
            if let Some(earlier) = seen_names.insert(name.value.clone(), line) {
                let wrong = format!("`route.name` '{}' is taken by the route of line {earlier}", name.value);
                reading.mistake(&name.at, wrong, "give each route its own name");
            }
        }
        let mistakes = reading.mistakes();
        let route = read_one(reading, &section, bases);
        let (Some(name), Some((route, at))) = (name, route) else { continue };
        let line = reading.line(&name.at);
        // What is left of a route with a mistake may look like another one.
        if reading.mistakes() > mistakes {
            continue;
        }
        if let Some(earlier) = seen_matches.insert(match_of(&route), line) {
            reading.mistake(
                &at,
                format!("route '{}' matches exactly what the route of line {earlier} matches", name.value),
                "remove one of the two, or tell them apart by host, path, methods or headers",
            );
        }
        routes.push(RouteConfig { name: name.value, ..route });
    }
    routes
}

/// A route without its name, and the place of its path; `None` after a mistake that leaves no match.
fn read_one(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    bases: &Bases<'_>,
) -> Option<(RouteConfig, Range<usize>)> {
    let host = section.value(reading, "host", host::read);
    let path = read_path(reading, section);
    let methods = read_methods(reading, section);
    let headers = read_headers(reading, section);
    let action = actions::read(reading, section);
    let timeouts = timeouts::read(reading, section, bases.timeouts);
    let body_bytes = section.value(reading, "body_bytes", |v| {
        let bounds = limits::BODY_BYTES;
        values::or_none(v, |v| values::size(v, *bounds.start(), *bounds.end()))
    });
    let body_bytes =
        body_bytes.map(|said| Bound::from(said.value.and_then(|value| u64::try_from(value).ok())));
    let mut edits = bases.edits.clone();
    edits.request.extend(edits::read(reading, section, "request_headers", Message::Request));
    edits.response.extend(edits::read(reading, section, "response_headers", Message::Response));
    let policies = policy::read_route(reading, section, bases.policies);
    let (path, action) = (path?, action?);
    let config = RouteConfig {
        name: String::new(),
        host: host.map(|said| said.value),
        path: path.value,
        methods,
        headers,
        action,
        edits,
        body_bytes,
        policies,
        timeouts,
    };
    Some((config, path.at))
}

fn read_path(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<Said<PathPattern>> {
    let exact = section.value(reading, "path", path::read);
    let prefix = section.value(reading, "prefix", path::read_prefix);
    match (section.place_of("path"), section.place_of("prefix")) {
        (Some(_), Some(at)) => {
            let wrong = "`route.prefix` and `route.path` are both given";
            reading.mistake(&at, wrong, "keep one: `path` for exactly this path, `prefix` for all below it");
        }
        (None, None) => {
            let right = "write prefix = \"/core\" for all below it, or path = \"/core/status\" for one path";
            reading.missing(&section.at, "`route` has neither `path` nor `prefix`", right);
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    exact
        .map(|said| Said { value: PathPattern::Exact(said.value), at: said.at })
        .or_else(|| prefix.map(|said| Said { value: PathPattern::Prefix(said.value), at: said.at }))
}

fn read_methods(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Vec<Method> {
    let Some(list) = section.list(reading, "methods", "[\"GET\", \"HEAD\"]", method) else {
        return Vec::new();
    };
    if section.list_is_empty("methods") {
        reading.mistake(
            &list.at,
            "`route.methods` is empty",
            "name a method, or leave the key out for all of them",
        );
    }
    let mut methods = Vec::new();
    for said in list.value {
        if methods.contains(&said.value) {
            reading.mistake(
                &said.at,
                format!("`route.methods` has {} twice", said.value),
                "name each method once",
            );
        } else {
            methods.push(said.value);
        }
    }
    methods
}

fn method(value: &DeValue<'_>) -> Outcome<Method> {
    let text = values::text(value)?;
    METHODS.iter().find(|method| method.as_str() == text).cloned().ok_or_else(|| {
        let known: Vec<&str> = METHODS.iter().map(Method::as_str).collect();
        let guess =
            suggest::nearest(text, &known).map(|m| format!("did you mean \"{m}\"? ")).unwrap_or_default();
        Wrong::new(format!("has {}", shorten(text)), format!("{guess}methods are {}", known.join(", ")))
    })
}

fn read_headers(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Vec<HeaderPattern> {
    let mut patterns: Vec<HeaderPattern> = Vec::new();
    for (key, value) in section.pairs(reading, "headers", "{ x-canary = \"yes\" }") {
        let name = header_name(key.value);
        if let Err(wrong) = &name {
            reading.mistake(&key.at, format!("`route.headers` {}", wrong.what), wrong.right.clone());
        }
        let value = understand(reading, "route.headers", value, header_value);
        let (Ok(name), Some(value)) = (name, value) else { continue };
        if patterns.iter().any(|pattern| pattern.name == name) {
            let wrong = format!("`route.headers` has {name} twice (case does not matter)");
            reading.mistake(&key.at, wrong, "name each header once");
        }
        patterns.push(HeaderPattern { name, value: value.value });
    }
    patterns
}

fn header_name(text: &str) -> Outcome<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(
            format!("has the name {}", shorten(text)),
            "a header's name has letters, digits and - only, like \"x-canary\"",
        )
    })?;
    if name == http::header::HOST {
        return Err(Wrong::new(
            "has the name 'host'",
            "use `host` of the route: it knows ports, case and wildcards",
        ));
    }
    Ok(name)
}

fn header_value(value: &DeValue<'_>) -> Outcome<Option<HeaderValue>> {
    let text = values::text(value)?;
    if text == "*" {
        return Ok(None);
    }
    // Spaces at the ends never arrive: they are not a part of a header's value (RFC 9110, section 5.5).
    HeaderValue::from_str(text).ok().filter(|_| text.is_ascii() && text.trim() == text).map(Some).ok_or_else(
        || {
            Wrong::new(
                format!("has the value {}", shorten(text)),
                "give printable ASCII without spaces at its ends, or \"*\" for any value",
            )
        },
    )
}

fn match_of(route: &RouteConfig) -> Match {
    let mut methods: Vec<String> = route.methods.iter().map(ToString::to_string).collect();
    methods.sort();
    let value = |pattern: &HeaderPattern| pattern.value.as_ref().map(|value| value.as_bytes().to_vec());
    let mut headers: Vec<_> =
        route.headers.iter().map(|pattern| (pattern.name.to_string(), value(pattern))).collect();
    headers.sort();
    (route.host.clone(), route.path.clone(), methods, headers)
}
