//! Which header fields pass the gateway: hop-by-hop fields do not (RFC 9110 7.6.1), in either direction.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};

use http::uri::Authority;

use super::error::GatewayError;
use crate::fields::{is_for_one_hop, is_ours};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that a `Connection` header cannot talk us into dropping: they are end-to-end, or they are ours. A client could
/// otherwise strip what later policies and services rely on.
const KEPT: [&str; 15] = [
    "via",
    "host",
    "authorization",
    "cookie",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "range",
    "date",
    "cache-control",
    "origin",
    "x-api-key",
    "x-request-id",
    "set-cookie",
];

/// Takes hop-by-hop fields out of a request. `has_body`: a body follows, of a length that is known or not.
///
/// `Expect: 100-continue` ends here: the gateway answers it when the body is wanted. `TE` survives as `trailers` only.
/// Framing is never copied: a body of unknown length goes on as chunked, and nothing else says so.
pub fn strip_request(headers: &mut HeaderMap, has_body: bool) -> Result<(), GatewayError> {
    // Most messages carry none of these: one look over the names then replaces a look-up for each.
    if !headers.keys().any(|name| is_for_one_hop(name.as_str())) {
        frame(headers, has_body);
        return Ok(());
    }
    if !only_chunked(headers) {
        return Err(GatewayError::TransferCoding);
    }
    if let Some(expect) = headers.remove(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(GatewayError::Expectation);
    }
    let wants_trailers = headers.contains_key(TE) && says_trailers(headers);
    strip_hop_by_hop(headers);
    for name in [PROXY_AUTHORIZATION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    frame(headers, has_body);
    Ok(())
}

fn frame(headers: &mut HeaderMap, has_body: bool) {
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// RFC 6585 5. Over HTTP/1.1 the parser counts, too; over HTTP/2 nobody else does, and each crumb of a cookie is one.
pub fn check_count(headers: &HeaderMap, limit: usize) -> Result<(), GatewayError> {
    if headers.len() > limit { Err(GatewayError::TooManyFields { limit }) } else { Ok(()) }
}

/// Joins the crumbs into which HTTP/2 cuts Cookie (RFC 9113 8.2.3): over HTTP/1.1 there is one.
pub fn join_crumbs(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(mut joined) = HeaderValue::from_bytes(&joined) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Takes hop-by-hop fields out of an answer.
pub fn strip_response(headers: &mut HeaderMap) {
    if headers.keys().any(|name| is_for_one_hop(name.as_str())) {
        // RFC 9112 6.3: where both are there the coding frames the body, and the length is wrong or a trap.
        if headers.contains_key(TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        strip_hop_by_hop(headers);
    }
}

/// Whether the body comes plain or chunked, and in no other coding, which would be lost with its name. Chunked twice is
/// another coding: who reads it once and who reads it twice see different bodies (RFC 9112 7.1).
pub fn only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    first && codings.next().is_none()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        strip_named(headers);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// Removes `Connection` and the fields that it names.
fn strip_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        // By far the most common tokens; as fields they go anyway.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !KEPT.contains(&name.as_str()) && !is_ours(name.as_str()))
        .collect();
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
}

fn says_trailers(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Makes Host say what the request's target says, where the target says it (RFC 9112 3.2.2), and gives an HTTP/1.0 request
/// without Host the one thing that is known: the service's name.
pub fn settle_host(headers: &mut HeaderMap, authority: Option<&Authority>, service: &str) {
    let wanted = match authority {
        Some(authority) => authority.as_str(),
        None if headers.contains_key(HOST) => return,
        None => service,
    };
    if let Ok(value) = HeaderValue::from_str(wanted) {
        headers.insert(HOST, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_go() {
        let mut headers = map(&[
            ("host", "a"),
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "x"),
            ("x-stays", "1"),
        ]);
        strip_request(&mut headers, false).unwrap();
        assert_eq!(names(&headers), ["host", "x-stays"]);
    }

    #[test]
    fn connection_cannot_name_away_what_matters() {
        let pairs = [
            ("authorization", "a"),
            ("host", "a"),
            ("x-api-key", "k"),
            ("x-forwarded-for", "f"),
            ("cookie", "c"),
        ];
        let mut headers = map(&pairs);
        headers
            .insert(CONNECTION, "authorization, host, x-api-key, x-forwarded-for, cookie".parse().unwrap());
        strip_request(&mut headers, false).unwrap();
        assert_eq!(names(&headers), ["authorization", "cookie", "host", "x-api-key", "x-forwarded-for"]);
    }

    #[test]
    fn trailers_survive_te_and_a_length_is_never_joined_by_chunked() {
        let mut headers = map(&[("te", "gzip, Trailers"), ("transfer-encoding", "chunked")]);
        strip_request(&mut headers, true).unwrap();
        assert_eq!(
            (&headers[TE], &headers[TRANSFER_ENCODING]),
            (&"trailers".parse().unwrap(), &"chunked".parse().unwrap())
        );
        let mut headers = map(&[("content-length", "3")]);
        strip_request(&mut headers, true).unwrap();
        assert!(!headers.contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let mut headers = map(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]);
        join_crumbs(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3; d=4"]);
        let mut one = map(&[("cookie", "a=1")]);
        join_crumbs(&mut one);
        assert_eq!(one[COOKIE], "a=1");
    }

    #[test]
    fn chunked_once_is_the_only_coding() {
        for (codings, known) in
            [(&["chunked"][..], true), (&[], true), (&["gzip"], false), (&["chunked", "chunked"], false)]
        {
            let pairs: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert_eq!(only_chunked(&map(&pairs)), known, "{codings:?}");
        }
    }

    #[test]
    fn only_the_known_expectation_is_met() {
        let mut headers = map(&[("expect", "100-Continue")]);
        assert!(strip_request(&mut headers, true).is_ok() && !headers.contains_key(EXPECT));
        assert!(strip_request(&mut map(&[("expect", "teapot")]), true).is_err());
    }

    #[test]
    fn repeated_end_to_end_fields_stay_in_order() {
        let mut headers = map(&[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("connection", "keep-alive")]);
        strip_response(&mut headers);
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    }
}
