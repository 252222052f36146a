//! `host` of a route: a name, `*.name` or an address, in one normal form.

use std::net::{Ipv4Addr, Ipv6Addr};

use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use super::HostPattern;
use crate::reader::{Outcome, Wrong};
use crate::values;

/// Reads a host pattern: lower case, no trailing dot, no port.
pub(super) fn read(value: &DeValue<'_>) -> Outcome<HostPattern> {
    let text = values::text(value)?;
    parse(text).map_err(|right| Wrong::new(format!("is {}", shorten(text)), right))
}

/// The error says what would be right.
pub(super) fn parse(text: &str) -> Result<HostPattern, String> {
    if text.contains("://") || text.contains('/') {
        return Err("give the host alone, like \"api.example.com\"; paths go into `path` or `prefix`".into());
    }
    if text == "*" {
        return Err("leave `host` out for every host, or give \"*.example.com\"".into());
    }
    if let Some(inner) = text.strip_prefix('[') {
        return match inner.split_once(']') {
            Some((ip, "")) => ip
                .parse::<Ipv6Addr>()
                .map(|ip| HostPattern::Exact(format!("[{ip}]")))
                .map_err(|_| "give an IPv6 address in brackets, like \"[::1]\"".into()),
            Some(_) | None => Err("give an IPv6 address in brackets and no port, like \"[::1]\"".into()),
        };
    }
    if let Some((host, _)) = text.split_once(':') {
        let example = if host.is_empty() { "api.example.com" } else { host };
        return Err(format!(
            "a host has no port here, every port of it matches: \"{}\"",
            shorten(example).trim_matches('\'')
        ));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (wildcard, rest) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    if !wildcard && rest.parse::<Ipv4Addr>().is_ok() {
        return Ok(HostPattern::Exact(name));
    }
    if rest.len() > 253 || !rest.split('.').all(is_label) {
        return Err(
            "give a name like \"api.example.com\" or \"*.example.com\": labels of letters, digits, - and _, \
             other scripts in their xn-- form"
                .into(),
        );
    }
    Ok(if wildcard { HostPattern::Wildcard(rest.to_owned()) } else { HostPattern::Exact(name) })
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}
