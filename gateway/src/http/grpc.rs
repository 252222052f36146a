//! What gRPC asks of a proxy beyond HTTP/2: errors in its own terms, and the deadline that its clients send.
//!
//! Source: "gRPC over HTTP2" (PROTOCOL-HTTP2.md) and "HTTP to gRPC Status Code Mapping" of the gRPC project.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::error::{Told, X_VERTICE_REASON};
use crate::upstream::response_body::StreamError;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: &str = "grpc-timeout";

const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// What `grpc-message` escapes: all but printable ASCII, and the escape itself.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// Whether a request is a gRPC call: `application/grpc`, alone or with `+proto`, `+json` and the like. gRPC-Web is not: its
/// status is in its body.
pub fn is_call(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    kind.as_bytes()
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b'+' | b';' | b' ')))
}

/// How long the client waits for the whole call. A value that is none says nothing: the service judges it.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// An error of the gateway for a gRPC client: an answer of trailers only.
pub fn refusal(told: &Told, reason_header: bool) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(code(told)));
    let message = utf8_percent_encode(&told.detail, MESSAGE).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if reason_header {
        headers.insert(X_VERTICE_REASON, HeaderValue::from_static(told.reason));
    }
    response
}

/// The trailers of an answer that broke off: a reset would only say that something went wrong.
pub fn broken_off(error: &StreamError) -> HeaderMap {
    let (code, message) = match error {
        StreamError::Timeout => (DEADLINE_EXCEEDED, "the answer took longer than its route allows"),
        StreamError::Upstream(_) => (UNAVAILABLE, "the service broke off its answer"),
    };
    HeaderMap::from_iter([
        (GRPC_STATUS, HeaderValue::from(code)),
        (GRPC_MESSAGE, HeaderValue::from_static(message)),
    ])
}

/// gRPC's number for what went wrong.
fn code(told: &Told) -> u16 {
    match told.status {
        // The client's own deadline is the request's total time. UNAVAILABLE would invite to do again what may have been done.
        StatusCode::GATEWAY_TIMEOUT if told.reason != "connect_timeout" => DEADLINE_EXCEEDED,
        StatusCode::BAD_REQUEST => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND => UNIMPLEMENTED,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::PAYLOAD_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (kind, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(&headers("content-type", kind)), call, "{kind}");
        }
    }

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        for (text, timeout_) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1.5S", None),
        ] {
            assert_eq!(timeout(&headers("grpc-timeout", text)), timeout_, "{text}");
        }
    }

    #[test]
    fn an_error_is_told_in_trailers_only() {
        let told = |status, reason| Told { status, reason, detail: "a%\u{e9}\nb".into() };
        let response = refusal(&told(StatusCode::GATEWAY_TIMEOUT, "total_timeout"), true);
        assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
        assert_eq!(response.headers()["grpc-status"], "4");
        assert_eq!(response.headers()["grpc-message"], "a%25%C3%A9%0Ab");
        for (status, reason, code) in [
            (StatusCode::GATEWAY_TIMEOUT, "first_byte_timeout", "4"),
            (StatusCode::GATEWAY_TIMEOUT, "connect_timeout", "14"),
            (StatusCode::BAD_GATEWAY, "upstream_closed", "14"),
            (StatusCode::NOT_FOUND, "no_route", "12"),
        ] {
            let response = refusal(&told(status, reason), true);
            assert_eq!(response.headers()["grpc-status"], code, "{reason}");
        }
    }
}
