//! What every attempt at an endpoint has in common, whatever is spoken: its deadlines, and what its failures mean.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::address_policy::AddressPolicy;
use super::error::{AttemptError, Failure};
use super::pool::{InFlight, Pool};
use super::request_body::{Progress, RequestBody};
use super::response_body::{Carrier, ResponseBody};
use crate::table::Endpoint;
use crate::worker::timer::{ConnectionClock, Tick, Wheel};

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// What one attempt works with.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The worker's connections.
    pub pool: &'a Rc<Pool>,
    /// The worker's wheel.
    pub wheel: &'a Wheel,
    /// The deadline of the client's request.
    pub clock: &'a Arc<ConnectionClock>,
    /// Which addresses are refused.
    pub policy: &'a AddressPolicy,
    /// Ticks to connect.
    pub connect: Tick,
    /// Ticks from the whole request having been sent to the answer's head.
    pub first_byte: Tick,
    /// Ticks without a byte of a body.
    pub idle: Tick,
    /// Bytes per second that a client owes while its body is waited for.
    pub min_rate: Option<u64>,
    /// Bytes per second that the client owes to take of the answer, unless it is a stream of events.
    pub min_response_rate: Option<u64>,
    /// The same as `idle` for an answer that is a stream of events.
    pub stream_idle: Tick,
    /// The tick at which the whole request is over.
    pub total: Tick,
    /// The request is a handshake: what it agrees on has the connection for itself.
    pub upgrade: bool,
}

impl Attempt<'_> {
    /// The answer as it goes to the client, from here on under its own deadlines.
    pub(super) fn answer(
        &self,
        endpoint: &Endpoint,
        response: Response<Incoming>,
        carrier: Carrier,
        in_flight: InFlight,
    ) -> Response<ResponseBody> {
        let pauses = self.upgrade || is_event_stream(&response);
        let idle = if pauses { self.stream_idle } else { self.idle };
        self.clock.owes(self.min_response_rate.filter(|_| !pauses));
        self.clock.stream(idle, self.total);
        self.wheel.arm(self.clock, self.clock.deadline());
        response.map(|incoming| ResponseBody {
            incoming,
            carrier,
            endpoint: endpoint.id,
            pool: self.pool.clone(),
            clock: self.clock.clone(),
            ended: false,
            _in_flight: in_flight,
        })
    }

    /// The tick at which there must be a connection, if it is begun now.
    pub(super) fn connect_deadline(&self) -> Tick {
        self.total.min(self.wheel.now() + self.connect)
    }

    /// A connection by `deadline`; the pool learns what came of it.
    pub(super) async fn connected<T>(
        &self,
        endpoint: &Endpoint,
        deadline: Tick,
        connecting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = self.before(deadline, connecting).await.unwrap_or_else(Err);
        match &result {
            Ok(_) => self.pool.trust(endpoint.id),
            Err(failure) if failure.blames_endpoint() => self.pool.suspect(endpoint.id, self.wheel.now()),
            Err(_) => {}
        }
        result
    }

    /// What `waiting` brings by `deadline`, which is that of a connection.
    pub(super) async fn before<T>(
        &self,
        deadline: Tick,
        waiting: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut waiting = pin!(waiting);
        self.wheel.arm(self.clock, deadline);
        poll_fn(|cx| match waiting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending if self.wheel.now() >= self.total => Poll::Ready(Err(Failure::TotalTimeout)),
            Poll::Pending if self.wheel.now() >= deadline => Poll::Ready(Err(Failure::ConnectTimeout)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Which deadline has passed, if one has; else sees to it that the next one wakes the task.
    ///
    /// While the body is still coming, who holds it up has `idle` ticks per piece: the client where it sends nothing, the
    /// endpoint where it takes nothing. From then on the endpoint has `first_byte`.
    pub(super) fn overdue(&self, started: &mut Tick, progress: Option<&Progress>) -> Option<Failure> {
        let now = self.wheel.now();
        let (deadline, look, failure) = match progress {
            Some(progress) if !progress.finished.get() => {
                *started = now;
                let failure = if progress.starved.get() {
                    Failure::ClientBodyTimeout
                } else {
                    Failure::FirstByteTimeout
                };
                let idle = progress.last.get() + self.idle;
                let slow = self.min_rate.filter(|_| progress.starved.get());
                let deadline = slow.map_or(idle, |rate| idle.min(progress.too_slow_at(rate)));
                // Who sends the body may be another task, which tells nobody here of its end: looked for in time to see to the
                // answer's deadline.
                (deadline, now + self.first_byte, failure)
            }
            sent => {
                *started = sent.map_or(*started, |progress| progress.last.get().max(*started));
                let deadline = *started + self.first_byte;
                (deadline, deadline, Failure::FirstByteTimeout)
            }
        };
        if now >= self.total {
            return Some(Failure::TotalTimeout);
        }
        if now >= deadline {
            return Some(failure);
        }
        self.wheel.arm(self.clock, deadline.min(look).min(self.total));
        None
    }
}

/// Whether an answer is one that pauses for as long as nothing happens (server-sent events).
fn is_event_stream<B>(response: &Response<B>) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

/// What the HTTP library's error means.
pub(super) fn classify(
    error: TrySendError<Request<RequestBody>>,
    progress: Option<&Progress>,
) -> AttemptError {
    let mut error = error;
    if let Some(request) = error.take_message() {
        return AttemptError::unsent(Failure::Closed, request);
    }
    let error = error.into_error();
    let failure = if progress.is_some_and(|progress| progress.too_large.get()) {
        Failure::BodyTooLarge
    } else if progress.is_some_and(|progress| progress.broken.get()) {
        Failure::ClientBody
    } else if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
        Failure::BadAnswer
    } else if progress.is_some_and(|progress| !progress.finished.get()) {
        Failure::ClosedDuringBody
    } else {
        Failure::Closed
    };
    AttemptError::lost(failure)
}

/// Whether the request may be sent twice: an idempotent method (RFC 9110 9.2.2), and no body, which would be gone.
pub(super) fn is_repeatable(request: &Request<RequestBody>) -> bool {
    request.body().is_empty()
        && matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
        )
}

/// The same request again; only for one without a body.
pub(super) fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
