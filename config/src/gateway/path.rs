//! `path`, `prefix` and `replace_prefix`: paths that a request can have once the gateway let it in.
//!
//! Routes are compared byte for byte with the request's path. What the gateway refuses in a request (dot segments,
//! backslashes, encoded or not) is refused here, too: such a route could never match, or would mean something else
//! to the service behind it.

use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use crate::reader::{Outcome, Wrong};
use crate::values;

/// Bytes of a path: many times the longest of the original's routes, and half of what a target must have room for.
const PATH_BYTES: usize = 1024;

/// Reads a path that starts with `/` and is in normal form.
pub(super) fn read(value: &DeValue<'_>) -> Outcome<String> {
    let text = values::text(value)?;
    match rule(text) {
        None => Ok(text.to_owned()),
        Some((what, right)) => Err(Wrong::new(format!("{what}: {}", shorten(text)), right)),
    }
}

/// Reads a prefix and cuts its trailing slash: `/a` and `/a/` are the same, the root is empty.
pub(super) fn read_prefix(value: &DeValue<'_>) -> Outcome<String> {
    read(value).map(|path| path.strip_suffix('/').unwrap_or(&path).to_owned())
}

/// The rule that `text` breaks, and what would be right.
fn rule(text: &str) -> Option<(&'static str, &'static str)> {
    if !text.starts_with('/') {
        return Some(("does not start with /", "give a path like \"/api/users\"; a host goes into `host`"));
    }
    if text.len() > PATH_BYTES {
        return Some(("has more than 1024 bytes", "give a shorter path"));
    }
    if text.contains(['?', '#']) {
        return Some(("has a query or a fragment", "give the path alone; the query passes through as it is"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Some((
            "has a space or a character outside ASCII",
            "write it percent-encoded, as it stands in a request: %20, %C3%A9",
        ));
    }
    if text.contains("//") {
        return Some(("has an empty segment (//)", "write one slash between segments"));
    }
    if !escapes_are_whole(text) {
        return Some(("has a % without two hexadecimal digits", "write %25 for a percent sign"));
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains('\\') || lower.contains("%5c") || lower.contains("%00") {
        return Some(("has a backslash or a NUL", "no request with one is let in: leave it out"));
    }
    // An encoded slash or dot may be decoded by the service: `%2f%2e%2e` must not climb either.
    let decoded = lower.replace("%2e", ".").replace("%2f", "/");
    if decoded.split('/').any(|segment| segment == "." || segment.starts_with("..")) {
        return Some(("has a dot segment", "write the path that is meant, without . and .."));
    }
    None
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.bytes().take_while(u8::is_ascii_hexdigit).take(2).count() == 2)
}
