//! Paths, hosts and request targets.

use http::header::HOST as HOST_FIELD;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use vertice_gateway::http::target;
use vertice_gateway::route::{host, legacy_name, path};

use super::told;
use crate::Target;

const WORDS: &[&str] = &[
    "/", "//", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%00", "%25", "%", ";", ";a=b", "?", "#",
    "*", "http://", "a.b", ":80", "@", "[::1]", "%c0%ae",
];

pub(super) const PATH: Target = Target {
    name: "path",
    what: "paths: what passes is read the same by every server behind",
    feed: path_law,
    words: WORDS,
};

/// What a careless server makes of a path: decoded once, cut at both slashes, parameters taken away.
fn careless(path: &str) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        if let Some(code) = code.filter(|_| *first == b'%') {
            bytes.push(code);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let segments = bytes.split(|b| matches!(b, b'/' | b'\\'));
    segments.map(|segment| segment.split(|b| *b == b';').next().unwrap_or_default().to_vec()).collect()
}

fn path_law(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let checked = path::check(&text);
    if checked.is_ok() {
        for segment in careless(&text) {
            assert!(segment != b"." && !segment.starts_with(b".."), "{text}: a dot segment passes");
            assert!(!segment.contains(&0), "{text}: a NUL passes");
        }
        assert!(text.starts_with('/') && !text.contains('\\'));
    }
    legacy_name::resolve(&text);
    told("path", &checked)
}

const HOST_WORDS: &[&str] = &[":", ":80", ".", "[", "]", "::1", "a.b", "A", "_", "-", "@", "/", ",", " "];

pub(super) const HOST: Target =
    Target { name: "host", what: "hosts: one normal form, and it stays", feed: host_law, words: HOST_WORDS };

fn host_law(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let normal = host::normal(&text);
    if let Some(normal) = &normal {
        assert!(!normal.is_empty() && normal.bytes().all(|b| b.is_ascii_graphic()), "{normal}");
        assert!(!normal.bytes().any(|b| b.is_ascii_uppercase()), "{normal}");
        assert!(!normal.contains(['"', '/', '@', ',', '\\', ';', '\'']), "{normal} breaks out of a field");
        // With a port and in capitals it is the same host.
        let shouted = format!("{}:8080", normal.to_ascii_uppercase());
        assert_eq!(host::normal(&shouted).as_ref(), Some(normal), "{shouted}");
    }
    format!("host {}", normal.is_some())
}

pub(super) const TARGET: Target = Target {
    name: "target",
    what: "a request's target and its Host, by lines",
    feed: target_law,
    words: WORDS,
};

fn target_law(input: &[u8]) -> String {
    let (first, rest) = input.split_at(input.iter().position(|b| *b == b'\n').unwrap_or(input.len()));
    let Ok(uri) = Uri::try_from(first) else { return "no target".into() };
    let mut headers = HeaderMap::new();
    for line in rest.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HOST_FIELD, value);
        }
    }
    let mut answer = String::new();
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        match target::host(&uri, &headers, version) {
            Ok(host) => {
                assert!(headers.get_all(HOST_FIELD).iter().count() < 2, "two Hosts pass");
                assert!(version == Version::HTTP_10 || !host.is_empty(), "no host passes");
                answer.push_str("host ok; ");
            }
            Err(error) => answer.push_str(&format!("{error:?}; ")),
        }
    }
    match target::check(&uri, &Method::GET, 16_384) {
        Ok(()) => {
            path_law(uri.path().as_bytes());
            answer.push_str("target ok");
        }
        Err(error) => answer.push_str(&format!("{error:?}")),
    }
    answer
}
