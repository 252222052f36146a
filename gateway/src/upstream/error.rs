//! What can go wrong in one attempt: what failed, whose fault it is, and whether the request may be sent again.

use http::Request;

use super::request_body::RequestBody;

/// A failed attempt.
#[derive(Debug)]
pub struct AttemptError {
    /// What failed.
    pub failure: Failure,
    /// The request, where it may go to another endpoint: not a byte of it was written, or it may be repeated.
    pub again: Option<Box<Request<RequestBody>>>,
}

/// What failed. Closed: every variant has its answer in `http::error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name of the endpoint did not resolve. The endpoint's.
    Resolve,
    /// The address must not be connected to. The registrant's.
    Forbidden,
    /// No connection. The endpoint's.
    Connect,
    /// No connection in time. The endpoint's.
    ConnectTimeout,
    /// Its certificate is not believed. The endpoint's, or the operator's who says whom to believe.
    Certificate,
    /// No TLS connection for another reason. The endpoint's.
    Tls,
    /// The connection ended before an answer. The endpoint's.
    Closed,
    /// The connection ended while the request's body was on its way. Nobody's: an endpoint may refuse an upload by closing.
    ClosedDuringBody,
    /// No answer in time, or the endpoint stopped taking the body. The endpoint's.
    FirstByteTimeout,
    /// The whole request took too long. The endpoint's.
    TotalTimeout,
    /// What came back is not HTTP/1.1, or not what we can pass on. The endpoint's.
    BadAnswer,
    /// The client broke its body off. The client's.
    ClientBody,
    /// The client stopped sending its body, or sends it too slowly. The client's.
    ClientBodyTimeout,
    /// The client's body has more bytes than it may have. The client's.
    BodyTooLarge,
}

impl Failure {
    /// Whether the endpoint is to be avoided for a moment.
    pub fn blames_endpoint(self) -> bool {
        match self {
            Self::Resolve
            | Self::Forbidden
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Certificate
            | Self::Tls => true,
            // An endpoint that answers others may well be slow or broken for one request.
            Self::Closed
            | Self::ClosedDuringBody
            | Self::FirstByteTimeout
            | Self::TotalTimeout
            | Self::BadAnswer
            | Self::ClientBody
            | Self::ClientBodyTimeout
            | Self::BodyTooLarge => false,
        }
    }
}

impl AttemptError {
    /// A failure after which the request is gone.
    pub fn lost(failure: Failure) -> Self {
        Self { failure, again: None }
    }

    /// A failure that left the request untouched.
    pub fn unsent(failure: Failure, request: Request<RequestBody>) -> Self {
        Self { failure, again: Some(Box::new(request)) }
    }
}
