//! Every way in which the gateway answers by itself instead of a service, and what the client is told (RFC 9457).
//!
//! The detail says whose fault it is and what to do; it never names an address inside.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::policy::Refusal;
use crate::route::path::PathError;
use crate::upstream::Failure;

/// `x-vertice-reason`
pub const X_VERTICE_REASON: HeaderName = HeaderName::from_static("x-vertice-reason");

/// Why the gateway answers by itself. Closed: [`GatewayError::answer`] and the metrics list every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayError {
    /// The path is not one that all servers would read alike.
    Path(PathError),
    /// The host is missing, doubled, contradicted or no host.
    Host(&'static str),
    /// The connection's TLS handshake was for another host, whose certificate is another one.
    Misdirected,
    /// The host is none of those that its listener redirects to HTTPS.
    UnknownHost,
    /// The target is longer than the limit.
    TargetTooLong {
        /// The limit.
        limit_bytes: usize,
    },
    /// More header fields than the limit.
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// CONNECT.
    Connect,
    /// An expectation other than 100-continue.
    Expectation,
    /// A WebSocket's handshake that is none; why.
    WebsocketHandshake(&'static str),
    /// A WebSocket of another version than 13.
    WebsocketVersion,
    /// A body in a coding other than chunked.
    TransferCoding,
    /// The request was here before.
    Loop,
    /// No route matches.
    NoRoute,
    /// A policy of the route speaks against it.
    Refused(Refusal),
    /// The route is known, no endpoint of its service is.
    NoEndpoint,
    /// Nobody has vouched for the service's endpoints in longer than the operator allows.
    Stale,
    /// An attempt failed and there was none to follow it.
    Upstream(Failure),
}

/// Status, reason and detail of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub status: StatusCode,
    /// A stable word for programs, also in `x-vertice-reason`.
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

impl GatewayError {
    /// All reasons, for the metrics.
    pub const REASONS: [&'static str; 42] = [
        "bad_path",
        "bad_host",
        "misdirected",
        "unknown_host",
        "target_too_long",
        "too_many_fields",
        "connect_refused",
        "expectation_failed",
        "websocket_handshake",
        "websocket_version",
        "transfer_coding",
        "loop",
        "no_route",
        "address_denied",
        "rate_limited",
        "content_type",
        "key_missing",
        "key_wrong",
        "key_expired",
        "token_missing",
        "token_invalid",
        "token_expired",
        "token_keys_unavailable",
        "auth_denied",
        "auth_unavailable",
        "scope_missing",
        "tenant_wrong",
        "no_endpoint",
        "stale",
        "resolve_failed",
        "address_forbidden",
        "connect_failed",
        "connect_timeout",
        "upstream_certificate",
        "upstream_tls",
        "upstream_closed",
        "first_byte_timeout",
        "total_timeout",
        "bad_answer",
        "client_body",
        "client_body_timeout",
        "body_too_large",
    ];

    /// What the client is told.
    pub fn answer(self) -> Told {
        let told = |status, reason, detail: &str| Told { status, reason, detail: detail.to_owned() };
        match self {
            Self::Path(error) => told(StatusCode::BAD_REQUEST, "bad_path", &error.to_string()),
            Self::Host(why) => told(StatusCode::BAD_REQUEST, "bad_host", why),
            Self::Misdirected => told(
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "this connection was opened for another host: ask for this one on a connection of its own",
            ),
            Self::UnknownHost => told(
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "this listener redirects to HTTPS, and this host is none of its own",
            ),
            Self::TargetTooLong { limit_bytes } => Told {
                status: StatusCode::URI_TOO_LONG,
                reason: "target_too_long",
                detail: format!("the request target is longer than {limit_bytes} bytes"),
            },
            Self::TooManyFields { limit } => Told {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                reason: "too_many_fields",
                detail: format!("the request has more than {limit} header fields"),
            },
            Self::Connect => {
                told(StatusCode::METHOD_NOT_ALLOWED, "connect_refused", "CONNECT is not offered here")
            }
            Self::Expectation => told(
                StatusCode::EXPECTATION_FAILED,
                "expectation_failed",
                "the only expectation that is met is 100-continue",
            ),
            Self::WebsocketHandshake(why) => Told {
                status: StatusCode::BAD_REQUEST,
                reason: "websocket_handshake",
                detail: format!("the WebSocket's handshake is not valid: {why}"),
            },
            Self::WebsocketVersion => told(
                StatusCode::UPGRADE_REQUIRED,
                "websocket_version",
                "the only version of WebSocket that is spoken is 13",
            ),
            Self::TransferCoding => told(
                StatusCode::NOT_IMPLEMENTED,
                "transfer_coding",
                "the only transfer coding that is understood is chunked",
            ),
            Self::Loop => told(
                StatusCode::LOOP_DETECTED,
                "loop",
                "the request came back to this gateway: a service is registered at the gateway's own address",
            ),
            Self::NoRoute => told(StatusCode::NOT_FOUND, "no_route", "no route matches this request"),
            Self::Refused(refusal) => {
                let (status, reason, detail) = refusal.told();
                told(status, reason, detail)
            }
            Self::NoEndpoint => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_endpoint",
                "the service is not registered or has no instance that takes requests",
            ),
            Self::Stale => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "stale",
                "what is known of the service is older than the operator of this gateway allows",
            ),
            Self::Upstream(failure) => failure_told(failure),
        }
    }

    /// The status, reason and body as a response. `close`: what the client still sends is not read.
    pub fn response(
        told: &Told,
        request_id: &HeaderValue,
        reason_header: bool,
        close: bool,
    ) -> Response<Bytes> {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": told.status.canonical_reason().unwrap_or("Error"),
            "status": told.status.as_u16(),
            "detail": told.detail,
            "reason": told.reason,
            "request_id": request_id.to_str().unwrap_or_default(),
        });
        let body = Bytes::from(body.to_string());
        let mut response = Response::new(body);
        *response.status_mut() = told.status;
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LENGTH, length);
        if reason_header {
            headers.insert(X_VERTICE_REASON, HeaderValue::from_static(told.reason));
        }
        if told.status == StatusCode::SERVICE_UNAVAILABLE {
            // A service that comes back is routed within a second.
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if told.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(http::header::SEC_WEBSOCKET_VERSION, super::websocket::VERSION);
        }
        if told.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(
                http::header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn failure_told(failure: Failure) -> Told {
    let told = |status, reason, detail: &str| Told { status, reason, detail: detail.to_owned() };
    match failure {
        Failure::Resolve => told(
            StatusCode::BAD_GATEWAY,
            "resolve_failed",
            "the host name that the service registered does not resolve from here",
        ),
        Failure::Forbidden => told(
            StatusCode::BAD_GATEWAY,
            "address_forbidden",
            "the address that the service registered must not be connected to",
        ),
        Failure::Connect => {
            told(StatusCode::BAD_GATEWAY, "connect_failed", "no instance of the service accepts connections")
        }
        Failure::ConnectTimeout => told(
            StatusCode::GATEWAY_TIMEOUT,
            "connect_timeout",
            "no instance of the service accepted a connection in time",
        ),
        Failure::Certificate => told(
            StatusCode::BAD_GATEWAY,
            "upstream_certificate",
            "the service's certificate is not one that this gateway believes; its operator finds why in the log",
        ),
        Failure::Tls => told(
            StatusCode::BAD_GATEWAY,
            "upstream_tls",
            "no TLS connection to the service came about; the operator of this gateway finds why in the log",
        ),
        Failure::Closed | Failure::ClosedDuringBody => told(
            StatusCode::BAD_GATEWAY,
            "upstream_closed",
            "the service closed the connection before it answered; the request may have had an effect",
        ),
        Failure::FirstByteTimeout => told(
            StatusCode::GATEWAY_TIMEOUT,
            "first_byte_timeout",
            "the service did not begin to answer in time; the request may have had an effect",
        ),
        Failure::TotalTimeout => told(
            StatusCode::GATEWAY_TIMEOUT,
            "total_timeout",
            "the request took longer than its route allows; it may have had an effect",
        ),
        Failure::BadAnswer => {
            told(StatusCode::BAD_GATEWAY, "bad_answer", "what the service answered is not valid HTTP/1.1")
        }
        Failure::ClientBody => {
            told(StatusCode::BAD_REQUEST, "client_body", "the request's body broke off or was malformed")
        }
        Failure::ClientBodyTimeout => told(
            StatusCode::REQUEST_TIMEOUT,
            "client_body_timeout",
            "the request's body stopped coming before its end, or came too slowly",
        ),
        Failure::BodyTooLarge => told(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the request's body is larger than its route takes",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::jwt::TokenFault;

    /// One row per variant.
    #[test]
    fn every_error_has_its_status_and_a_listed_reason() {
        let rows = [
            (GatewayError::Path(PathError::Nul), 400, "bad_path"),
            (GatewayError::Host("x"), 400, "bad_host"),
            (GatewayError::Misdirected, 421, "misdirected"),
            (GatewayError::UnknownHost, 421, "unknown_host"),
            (GatewayError::TargetTooLong { limit_bytes: 1 }, 414, "target_too_long"),
            (GatewayError::TooManyFields { limit: 1 }, 431, "too_many_fields"),
            (GatewayError::Connect, 405, "connect_refused"),
            (GatewayError::Expectation, 417, "expectation_failed"),
            (GatewayError::WebsocketHandshake("x"), 400, "websocket_handshake"),
            (GatewayError::WebsocketVersion, 426, "websocket_version"),
            (GatewayError::TransferCoding, 501, "transfer_coding"),
            (GatewayError::Loop, 508, "loop"),
            (GatewayError::Upstream(Failure::ClosedDuringBody), 502, "upstream_closed"),
            (GatewayError::NoRoute, 404, "no_route"),
            (GatewayError::Refused(Refusal::Address), 403, "address_denied"),
            (GatewayError::Refused(Refusal::RateLimited), 429, "rate_limited"),
            (GatewayError::Refused(Refusal::ContentType), 415, "content_type"),
            (GatewayError::Refused(Refusal::KeyMissing), 403, "key_missing"),
            (GatewayError::Refused(Refusal::KeyWrong), 401, "key_wrong"),
            (GatewayError::Refused(Refusal::KeyExpired), 401, "key_expired"),
            (GatewayError::Refused(Refusal::TokenMissing), 401, "token_missing"),
            (GatewayError::Refused(Refusal::Token(TokenFault::Signature)), 401, "token_invalid"),
            (GatewayError::Refused(Refusal::Token(TokenFault::Expired)), 401, "token_expired"),
            (GatewayError::Refused(Refusal::TokenKeysUnavailable), 503, "token_keys_unavailable"),
            (GatewayError::Refused(Refusal::Denied { unauthenticated: true }), 401, "auth_denied"),
            (GatewayError::Refused(Refusal::Denied { unauthenticated: false }), 403, "auth_denied"),
            (GatewayError::Refused(Refusal::AuthUnavailable), 503, "auth_unavailable"),
            (GatewayError::Refused(Refusal::ScopeMissing), 403, "scope_missing"),
            (GatewayError::Refused(Refusal::TenantWrong), 403, "tenant_wrong"),
            (GatewayError::NoEndpoint, 503, "no_endpoint"),
            (GatewayError::Stale, 503, "stale"),
            (GatewayError::Upstream(Failure::Resolve), 502, "resolve_failed"),
            (GatewayError::Upstream(Failure::Forbidden), 502, "address_forbidden"),
            (GatewayError::Upstream(Failure::Connect), 502, "connect_failed"),
            (GatewayError::Upstream(Failure::ConnectTimeout), 504, "connect_timeout"),
            (GatewayError::Upstream(Failure::Certificate), 502, "upstream_certificate"),
            (GatewayError::Upstream(Failure::Tls), 502, "upstream_tls"),
            (GatewayError::Upstream(Failure::Closed), 502, "upstream_closed"),
            (GatewayError::Upstream(Failure::FirstByteTimeout), 504, "first_byte_timeout"),
            (GatewayError::Upstream(Failure::TotalTimeout), 504, "total_timeout"),
            (GatewayError::Upstream(Failure::BadAnswer), 502, "bad_answer"),
            (GatewayError::Upstream(Failure::ClientBody), 400, "client_body"),
            (GatewayError::Upstream(Failure::ClientBodyTimeout), 408, "client_body_timeout"),
            (GatewayError::Upstream(Failure::BodyTooLarge), 413, "body_too_large"),
        ];
        for (error, status, reason) in rows {
            let told = error.answer();
            assert_eq!((told.status.as_u16(), told.reason), (status, reason));
            assert!(GatewayError::REASONS.contains(&reason), "{reason}");
        }
        let told: std::collections::BTreeSet<_> = rows.iter().map(|row| row.2).collect();
        assert_eq!(told.len(), GatewayError::REASONS.len());
    }
}
