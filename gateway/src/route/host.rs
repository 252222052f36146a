//! The one normal form of a host: lower case, without port and trailing dot.

use std::borrow::Cow;

/// Brings the value of a Host header (or an authority) into normal form. `None`: it is no host.
pub fn normal(value: &str) -> Option<Cow<'_, str>> {
    let host = if value.starts_with('[') {
        let end = value.find(']')?;
        let (host, rest) = value.split_at_checked(end + 1)?;
        rest.strip_prefix(':').map_or(rest.is_empty(), is_port).then_some(host)?
    } else if let Some((host, port)) = value.split_once(':') {
        is_port(port).then_some(host)?
    } else {
        value
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'[' | b']' | b':');
    // An empty label is no name: what strips dots until none is left would see another host than we do.
    let empty_label = host.starts_with('.') || host.ends_with('.') || host.contains("..");
    if host.is_empty() || empty_label || !host.bytes().all(legal) {
        return None;
    }
    Some(if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_port_and_trailing_dot_do_not_matter() {
        for (value, host) in [
            ("a.example", "a.example"),
            ("A.Example.:8000", "a.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("vertice-maximus_eureka", "vertice-maximus_eureka"),
        ] {
            assert_eq!(normal(value).as_deref(), Some(host), "{value}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for value in [
            "", ":80", "a b", "a/b", "a:x", "a:80:80", "[::1", "[::1]x", "a@b", "a,b", ".", "..", "a..",
            "a..b", ".a",
        ] {
            assert_eq!(normal(value), None, "{value}");
        }
    }
}
