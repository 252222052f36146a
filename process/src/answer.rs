//! Answers of our control-side servers: JSON, text, and problems by RFC 9457.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

/// The body of a control-side answer; boxed because a watch streams.
pub type AnswerBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A control-side answer.
pub type Answer = Response<AnswerBody>;

/// An answer with `body` of type `content_type`.
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// JSON that was made beforehand.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_type(status, "application/json", body)
}

/// Plain text, a newline at its end.
pub fn text(status: StatusCode, line: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// No body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}
