//! `[cors.NAME]`: which pages of other origins may use a route from a browser (Fetch standard, 3.2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use vertice_registry_api::name::shorten;

use crate::gateway::HostPattern;
use crate::gateway::host;
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Section, Wrong};
use crate::values;

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "origins",
        kind: "list of origins",
        default: None,
        absent: "a mistake: it must be given",
        example: "[\"https://app.example.com\", \"https://*.example.org\", \"http://localhost:5173\"]",
        what: "Origins whose pages may read answers: scheme, host and port as a browser writes them, `*.` for everything below a \
               name, or `[\"*\"]` for all.",
        why: "No default: it is the whole point. `\"null\"` (files and sandboxes) cannot be named: anybody can be it.",
    },
    Key {
        name: "methods",
        kind: "list of methods, or [\"*\"]",
        default: Some("[\"GET\", \"HEAD\", \"POST\"]"),
        absent: "",
        example: "[\"GET\", \"PUT\", \"DELETE\"]",
        what: "Methods that such pages may use.",
        why: "Those that browsers send without asking.",
    },
    Key {
        name: "headers",
        kind: "list of header names, or [\"*\"]",
        default: Some("[]"),
        absent: "",
        example: "[\"content-type\", \"x-api-key\"]",
        what: "Header fields that such pages may send beyond the harmless ones. `*` does not stand for `authorization`: browsers want \
               that one by name.",
        why: "",
    },
    Key {
        name: "expose",
        kind: "list of header names, or [\"*\"]",
        default: Some("[]"),
        absent: "",
        example: "[\"x-request-id\", \"ratelimit\", \"retry-after\"]",
        what: "Header fields of answers that such pages may read beyond the harmless ones.",
        why: "",
    },
    Key {
        name: "credentials",
        kind: "true or false",
        default: Some("false"),
        absent: "",
        example: "true",
        what: "Whether such pages may send cookies and client certificates. Not together with `*` in any list: browsers take it for a \
               name then.",
        why: "",
    },
    Key {
        name: "max_age",
        kind: "duration",
        default: Some("\"10m\""),
        absent: "",
        example: "\"2h\"",
        what: "How long a browser may remember what it was told before it asks again.",
        why: "A request less for most; what changes here is known everywhere ten minutes later. Chromium stops at two hours.",
    },
];

/// More would be a database.
const ORIGINS: usize = 1000;
/// More in one header field than any proxy on the way takes.
const NAMES: usize = 100;

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsConfig {
    /// Under which name routes have it.
    pub name: String,
    /// Whose pages; `None`: everybody's.
    pub origins: Option<Vec<OriginPattern>>,
    /// With which methods; `None`: every method.
    pub methods: Option<Vec<Method>>,
    /// With which header fields; `None`: every one but `authorization`.
    pub headers: Option<Vec<HeaderName>>,
    /// Which header fields of answers they see; `None`: all.
    pub expose: Option<Vec<HeaderName>>,
    /// With cookies.
    pub credentials: bool,
    /// How long browsers remember.
    pub max_age: Duration,
}

/// Origins as browsers write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// `https`
    pub scheme: String,
    /// A name, or everything below one.
    pub host: HostPattern,
    /// Where it is not the scheme's own.
    pub port: Option<u16>,
}

/// All sections.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> BTreeMap<String, Arc<CorsConfig>> {
    let mut all = BTreeMap::new();
    for (name, section) in root.named_sections(reading, "cors", &names(KEYS)) {
        if let Some(config) = read_one(reading, &name, &section) {
            all.insert(name, Arc::new(config));
        }
    }
    all
}

fn read_one(reading: &mut Reading<'_>, name: &str, section: &Section<'_, '_>) -> Option<CorsConfig> {
    let credentials = section.value(reading, "credentials", values::boolean).is_some_and(|said| said.value);
    let origins = list(reading, section, "origins", credentials, ORIGINS, origin);
    if section.place_of("origins").is_none() {
        let path = section.path_of("origins");
        reading.missing(
            &section.at,
            format!("`{path}` is missing"),
            "write origins = [\"https://app.example.com\"], or [\"*\"] for everybody",
        );
    }
    let methods = list(reading, section, "methods", credentials, NAMES, method);
    let headers = list(reading, section, "headers", credentials, NAMES, header_name);
    let expose = list(reading, section, "expose", credentials, NAMES, header_name);
    let max_age = section.value(reading, "max_age", values::duration);
    Some(CorsConfig {
        name: name.to_owned(),
        origins: origins?,
        methods: methods.unwrap_or_else(|| Some(vec![Method::GET, Method::HEAD, Method::POST])),
        headers: headers.unwrap_or_else(|| Some(Vec::new())),
        expose: expose.unwrap_or_else(|| Some(Vec::new())),
        credentials,
        max_age: max_age.map_or(Duration::from_mins(10), |said| said.value),
    })
}

/// `None`: it is not there. `Some(None)`: `["*"]`.
#[allow(
    clippy::option_option,
    reason = "absent, everything, or a list: read once, and gone behind this module"
)]
fn list<T>(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    key: &str,
    credentials: bool,
    most: usize,
    read: impl Fn(&str) -> Outcome<T>,
) -> Option<Option<Vec<T>>> {
    let said = section.list(reading, key, "[\"*\"]", |value| {
        let text = values::text(value)?;
        if text == "*" { Ok(None) } else { read(text).map(Some) }
    })?;
    let path = section.path_of(key);
    let count = said.value.len();
    if count > most {
        reading.mistake(
            &said.at,
            format!("`{path}` has {count} entries"),
            format!("at most {most} are taken"),
        );
    }
    let star = said.value.iter().find(|item| item.value.is_none()).map(|item| item.at.clone());
    let Some(star) = star else {
        return Some(Some(said.value.into_iter().filter_map(|item| item.value).collect()));
    };
    if credentials {
        reading.mistake(
            &star,
            format!("`{path}` is \"*\" beside credentials = true"),
            "name them one by one: no browser takes \"*\" for everything where credentials are sent",
        );
    } else if count > 1 {
        reading.mistake(
            &star,
            format!("`{path}` has \"*\" beside others"),
            "keep [\"*\"] alone: it stands for all",
        );
    }
    Some(None)
}

fn origin(text: &str) -> Outcome<OriginPattern> {
    let wrong = |right: &str| Wrong::new(format!("has {}", shorten(text)), right);
    let form = "give an origin as browsers write it: \"https://app.example.com\", \"http://localhost:5173\", or \
                \"https://*.example.com\" for everything below a name";
    if text == "null" {
        return Err(wrong("leave it out: every page in a sandbox and every local file is \"null\""));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(form))?;
    let scheme_is_fine = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_is_fine || rest.contains('/') {
        return Err(wrong(form));
    }
    let (name, port) = match rest.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, Some(port.parse::<u16>().map_err(|_| wrong(form))?))
        }
        Some(_) | None => (rest, None),
    };
    if matches!((scheme, port), ("https", Some(443)) | ("http", Some(80))) {
        return Err(wrong("leave the port out: browsers do not write the one that the scheme has by itself"));
    }
    let host = host::parse(name).map_err(|right| wrong(&right))?;
    Ok(OriginPattern { scheme: scheme.to_owned(), host, port })
}

fn method(text: &str) -> Outcome<Method> {
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(upper.as_bytes()) {
        Ok(method) if upper == text && method != Method::CONNECT && method != Method::TRACE => Ok(method),
        Ok(_) | Err(_) => Err(Wrong::new(
            format!("has {}", shorten(text)),
            "give a method in capitals, like \"PUT\"; browsers send neither CONNECT nor TRACE",
        )),
    }
}

fn header_name(text: &str) -> Outcome<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        Wrong::new(
            format!("has the name {}", shorten(text)),
            "a header's name has letters, digits and - only, like \"x-api-key\"",
        )
    })
}
