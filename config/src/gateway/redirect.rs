//! `redirect` of a route: where clients are sent instead, in a form that no request can bend to another place.

use http::{StatusCode, Uri};
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::{RedirectConfig, RedirectPart};
use crate::reader::{Outcome, Reading, Section, Wrong};
use crate::values;

const KEYS: [&str; 2] = ["to", "status"];
/// As the original answers: method and body stay, and no browser remembers it for ever.
const STATUS: StatusCode = StatusCode::TEMPORARY_REDIRECT;

/// The redirect of a route with or without a prefix.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    has_prefix: bool,
) -> Option<RedirectConfig> {
    let table = section.section(reading, "redirect", &KEYS)?;
    let status = table.value(reading, "status", status);
    let to = table.wanted(reading, "to", "\"https://www.example.com{path}{query}\"", |value| {
        let text = values::text(value)?;
        target(text)
            .and_then(|parts| {
                if parts.contains(&RedirectPart::Rest) && !has_prefix {
                    return Err(
                        "{rest} is what follows a prefix: use {path}, or `prefix` instead of `path`".into()
                    );
                }
                Ok(parts)
            })
            .map_err(|right| Wrong::new(format!("is {}", shorten(text)), right))
    })?;
    Some(RedirectConfig { status: status.map_or(STATUS, |said| said.value), to: to.value })
}

fn status(value: &DeValue<'_>) -> Outcome<StatusCode> {
    let number = values::number(value, 301, 308)?;
    let wrong = || {
        Wrong::new(
            format!("is {number}"),
            "give 307 or 308 (the method stays), 301 or 302 (browsers make it a GET)",
        )
    };
    [301, 302, 307, 308]
        .into_iter()
        .find(|known| usize::from(*known) == number)
        .and_then(|known| StatusCode::from_u16(known).ok())
        .ok_or_else(wrong)
}

/// Takes `text` apart. The error says what would be right.
fn target(text: &str) -> Result<Vec<RedirectPart>, String> {
    let example =
        "write \"https://www.example.com{path}{query}\", or \"/new{rest}\" for a path of the same host";
    let parts = parts(text)?;
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>']) {
        return Err(format!("spaces, quotes and characters outside ASCII are percent-encoded; {example}"));
    }
    let literal: String = parts.iter().map(RedirectPart::sample).collect();
    let uri: Uri = literal.parse().map_err(|_| format!("it is no URL; {example}"))?;
    match uri.authority() {
        None if !text.starts_with('/') && !text.starts_with("{path}") && !text.starts_with("{rest}") => {
            return Err(example.to_owned());
        }
        // `//host` is another host for browsers.
        None if text.starts_with("//") || text.starts_with("/{") => {
            return Err(format!(
                "two slashes at the beginning name a host; {{path}} brings its own; {example}"
            ));
        }
        None => {}
        Some(authority) => {
            if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.as_str().contains('@') {
                return Err(format!("scheme and host are http(s)://host[:port], without a user; {example}"));
            }
            let before_path = text.split_once("://").map_or("", |(_, rest)| rest);
            let host_end = before_path.find(['/', '?', '#', '{']).unwrap_or(before_path.len());
            if before_path.get(..host_end) != Some(authority.as_str()) {
                return Err(format!("the host is written out, without a placeholder; {example}"));
            }
        }
    }
    Ok(parts)
}

/// Literal text and placeholders, in order. The query comes last, and nothing of a request stands behind a `?`.
fn parts(text: &str) -> Result<Vec<RedirectPart>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        if !before.is_empty() {
            parts.push(RedirectPart::Text(before.to_owned()));
        }
        let known = [
            ("{path}", RedirectPart::Path),
            ("{rest}", RedirectPart::Rest),
            ("{query}", RedirectPart::Query),
        ];
        let Some((name, part)) = known.into_iter().find(|(name, _)| from.starts_with(name)) else {
            return Err(
                "placeholders are {path}, {rest} (what follows the prefix) and {query} (with its ?)".into()
            );
        };
        let read = text.len() - from.len();
        if text.get(..read).is_some_and(|before| before.contains(['?', '#'])) {
            return Err(format!("nothing of the request goes behind a ? or #: leave {name} out"));
        }
        parts.push(part);
        rest = from.get(name.len()..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(RedirectPart::Text(rest.to_owned()));
    }
    let behind_query = parts.iter().skip_while(|part| **part != RedirectPart::Query).nth(1);
    if behind_query.is_some() {
        return Err("{query} comes last".into());
    }
    Ok(parts)
}

impl RedirectPart {
    /// Something that can stand in its place.
    fn sample(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Path | Self::Rest => "/x",
            Self::Query => "?x",
        }
    }
}

impl std::fmt::Display for RedirectConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.to {
            f.write_str(match part {
                RedirectPart::Text(text) => text,
                RedirectPart::Path => "{path}",
                RedirectPart::Rest => "{rest}",
                RedirectPart::Query => "{query}",
            })?;
        }
        Ok(())
    }
}
