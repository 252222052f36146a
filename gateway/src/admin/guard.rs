//! Who may change something over the admin listener.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;
use vertice_process::answer::{self, Answer};

/// An answer that says why not.
pub fn refuse(status: StatusCode, detail: &str) -> Answer {
    answer::json(status, json!({"detail": detail}).to_string() + "\n")
}

/// The answer to a request that must not change anything; `None` for one that may.
pub fn not_a_change<B>(request: &Request<B>) -> Option<Answer> {
    if *request.method() != Method::POST {
        return Some(refuse(StatusCode::METHOD_NOT_ALLOWED, "POST is wanted here"));
    }
    from_a_person(request.headers()).err().map(|detail| refuse(StatusCode::FORBIDDEN, detail))
}

/// Whether a change may come from here: not from a page in somebody's browser.
///
/// The listener is on loopback, and so is the operator's browser: any page that it shows can send a POST there. Browsers
/// then say so in `Origin`, and no tool of an operator sends that. A page under a name that its owner turns to 127.0.0.1
/// (DNS rebinding) is of one origin with us for the browser; it still sends that name as `Host`, so a host must be an
/// address or `localhost`.
fn from_a_person(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(ORIGIN) {
        return Err("changes are not taken from pages in a browser (the request has an Origin)");
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        Err("changes are only taken under an address or localhost: use http://127.0.0.1:PORT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_from_an_address_and_never_from_a_page() {
        let headers = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        for host in [
            "127.0.0.1:9901",
            "127.0.0.1",
            "[::1]:9901",
            "[::1]",
            "localhost:9901",
            "LOCALHOST",
            "10.0.0.7:1",
        ] {
            assert!(from_a_person(&headers(host, None)).is_ok(), "{host}");
            for origin in ["http://evil.example", "http://127.0.0.1:9901", "null"] {
                assert!(from_a_person(&headers(host, Some(origin))).is_err(), "{host} {origin}");
            }
        }
        for host in
            ["evil.example", "evil.example:9901", "localhost.evil.example", "127.0.0.1.evil.example", ":9901"]
        {
            assert!(from_a_person(&headers(host, None)).is_err(), "{host}");
        }
        assert!(from_a_person(&HeaderMap::new()).is_err());
    }
}
