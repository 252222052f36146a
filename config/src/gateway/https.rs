//! `https_redirect` and `hsts` of a listener: how clients get to TLS, and stay there.

use http::header::HeaderValue;
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::{HttpsRedirectConfig, edits, host};
use crate::reader::{Outcome, Reading, Section, Wrong};
use crate::values;

/// The port of `https://` where none is said.
const HTTPS_PORT: u16 = 443;

/// What the listener says.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
) -> (Option<HttpsRedirectConfig>, Option<HeaderValue>) {
    let https_redirect = read_redirect(reading, section);
    let hsts = section.value(reading, "hsts", hsts);
    (https_redirect, hsts.map(|said| said.value))
}

fn read_redirect(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Option<HttpsRedirectConfig> {
    let table = section.section(reading, "https_redirect", &["hosts", "port"])?;
    if let (Some(at), Some(_)) = (section.place_of("https_redirect"), section.place_of("tls")) {
        let wrong = "`listener.https_redirect` stands beside `tls`, with which all clients come over HTTPS";
        reading.mistake(&at, wrong, "put it on the listener without `tls`");
    }
    let example = "[\"example.com\", \"*.example.com\"]";
    if table.place_of("hosts").is_none() || table.list_is_empty("hosts") {
        reading.missing(
            &table.at,
            format!("`{}` names no host", table.path()),
            format!("write hosts = {example}: whoever redirects to any host that is asked for sends clients anywhere"),
        );
    }
    let hosts = table.list(reading, "hosts", example, host::read)?;
    let port = table.value(reading, "port", |value| values::number(value, 1, usize::from(u16::MAX)));
    let port = port.and_then(|said| u16::try_from(said.value).ok()).unwrap_or(HTTPS_PORT);
    Some(HttpsRedirectConfig { hosts: hosts.value.into_iter().map(|said| said.value).collect(), port })
}

/// RFC 6797 6.1: directives apart by `;`, `max-age` among them.
fn hsts(value: &DeValue<'_>) -> Outcome<HeaderValue> {
    let text = values::text(value)?;
    let mut max_age = false;
    for directive in text.split(';').map(str::trim) {
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        let good = match name.to_ascii_lowercase().as_str() {
            "max-age" => {
                let first = !max_age;
                max_age = true;
                first
                    && !argument.is_empty()
                    && argument.len() <= 10
                    && argument.bytes().all(|b| b.is_ascii_digit())
            }
            "includesubdomains" | "preload" => !directive.contains('='),
            _ => false,
        };
        if !good {
            return Err(Wrong::new(
                format!("has the directive {}", shorten(directive)),
                "give \"max-age=SECONDS\", maybe with \"; includeSubDomains\" and \"; preload\"",
            ));
        }
    }
    if !max_age {
        return Err(Wrong::new("has no max-age", "give \"max-age=31536000\" for a year"));
    }
    edits::field_value(value)
}
