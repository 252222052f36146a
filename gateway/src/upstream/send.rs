//! One attempt: a request to one endpoint, up to the head of its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::address_policy::AddressPolicy;
use super::connect::connect;
use super::connection::UpstreamConnection;
use super::error::{AttemptError, Failure};
use super::pool::Pool;
use super::request_body::{Progress, RequestBody};
use super::response_body::ResponseBody;
use crate::table::Endpoint;
use crate::worker::timer::{ConnectionClock, Tick, Wheel};

/// Ticks (50 ms) that a connection may have been idle and still carry a request that cannot be repeated: a server that
/// closes idle connections does so after seconds, and a close that crosses our request loses it.
const FRESH_ENOUGH: Tick = 20;

/// What one attempt works with.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The worker's connections.
    pub pool: &'a Rc<Pool>,
    /// The worker's wheel.
    pub wheel: &'a Wheel,
    /// The client connection's deadline.
    pub clock: &'a Arc<ConnectionClock>,
    /// Which addresses are refused.
    pub policy: &'a AddressPolicy,
    /// Ticks to connect.
    pub connect: Tick,
    /// Ticks from the whole request having been sent to the answer's head.
    pub first_byte: Tick,
    /// Ticks without a byte of a body.
    pub idle: Tick,
    /// The tick at which the whole request is over.
    pub total: Tick,
}

/// Sends `request` to `endpoint` and waits for the head of the answer.
///
/// An idle connection is used when there is one. If it turns out to have been closed, the request goes out once more on
/// a new connection, provided that it was not written at all or may be repeated (RFC 9110 9.2.2: an idempotent method,
/// and no body, which would be gone). If that one is closed too, the request goes back to the caller for another
/// endpoint. Cancel safe: dropping the future drops the connection.
pub async fn send(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, AttemptError> {
    let repeatable = request.body().is_empty() && is_idempotent(request.method());
    let in_flight = attempt.pool.begin(endpoint.id);
    let mut request = request;
    if let Some(connection) = idle_connection(attempt, endpoint, repeatable).await {
        let copy = repeatable.then(|| copy_of(&request));
        match exchange(attempt, connection, request).await {
            Ok((response, connection)) => {
                return Ok(response.map(|body| attempt.answer(endpoint, body, connection, in_flight)));
            }
            Err(AttemptError { failure: Failure::Closed, again }) => match again.map(|r| *r).or(copy) {
                Some(again) => request = again,
                None => return Err(AttemptError::lost(Failure::Closed)),
            },
            Err(error) => return Err(error),
        }
    }
    let connection = match new_connection(attempt, endpoint).await {
        Ok(connection) => connection,
        Err(failure) => return Err(AttemptError::unsent(failure, request)),
    };
    let copy = repeatable.then(|| copy_of(&request));
    match exchange(attempt, connection, request).await {
        Ok((response, connection)) => {
            Ok(response.map(|body| attempt.answer(endpoint, body, connection, in_flight)))
        }
        // A server that is going away resets what it had not accepted yet; another one may answer.
        Err(AttemptError { failure: Failure::Closed, again }) => {
            Err(AttemptError { failure: Failure::Closed, again: again.or(copy.map(Box::new)) })
        }
        Err(error) => Err(error),
    }
}

impl Attempt<'_> {
    fn answer(
        &self,
        endpoint: &Endpoint,
        incoming: Incoming,
        connection: Option<UpstreamConnection>,
        in_flight: super::pool::InFlight,
    ) -> ResponseBody {
        self.clock.stream(self.idle, self.total);
        self.wheel.arm(self.clock, self.clock.deadline());
        ResponseBody {
            incoming,
            connection,
            endpoint: endpoint.id,
            pool: self.pool.clone(),
            clock: self.clock.clone(),
            ended: false,
            _in_flight: in_flight,
        }
    }
}

/// A connection from the pool that is alive and ready. Driving it once tells whether the endpoint closed it meanwhile.
async fn idle_connection(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    repeatable: bool,
) -> Option<UpstreamConnection> {
    let max_idle = if repeatable { Tick::MAX / 4 } else { FRESH_ENOUGH };
    while let Some(mut connection) = attempt.pool.take(endpoint.id, attempt.wheel.now(), max_idle) {
        poll_fn(|cx| {
            connection.drive(cx);
            Poll::Ready(())
        })
        .await;
        if connection.is_ready() {
            return Some(connection);
        }
    }
    None
}

async fn new_connection(attempt: &Attempt<'_>, endpoint: &Endpoint) -> Result<UpstreamConnection, Failure> {
    let now = attempt.wheel.now();
    let deadline = attempt.total.min(now + attempt.connect);
    let mut connecting = pin!(connect(endpoint, attempt.policy));
    attempt.wheel.arm(attempt.clock, deadline);
    let result = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending if attempt.wheel.now() >= attempt.total => Poll::Ready(Err(Failure::TotalTimeout)),
        Poll::Pending if attempt.wheel.now() >= deadline => Poll::Ready(Err(Failure::ConnectTimeout)),
        Poll::Pending => Poll::Pending,
    })
    .await;
    match &result {
        Ok(_) => attempt.pool.trust(endpoint.id),
        Err(failure) if failure.blames_endpoint() => attempt.pool.suspect(endpoint.id, attempt.wheel.now()),
        Err(_) => {}
    }
    result
}

/// Writes the request and waits for the head, driving the connection itself. `None` for the connection: the answer came
/// before the request's body was through, and the connection goes on by itself until both are.
async fn exchange(
    attempt: &Attempt<'_>,
    mut connection: UpstreamConnection,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Option<UpstreamConnection>), AttemptError> {
    *request.version_mut() = Version::HTTP_11;
    let progress = request.body().progress();
    let mut started = attempt.wheel.now();
    let mut sending = pin!(connection.begin(request));
    let result = poll_fn(|cx| {
        connection.drive(cx);
        if let Poll::Ready(result) = sending.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| classify(error, progress.as_deref())));
        }
        match attempt.overdue(&mut started, progress.as_deref()) {
            Some(failure) => Poll::Ready(Err(AttemptError::lost(failure))),
            None => Poll::Pending,
        }
    })
    .await;
    let response = result?;
    if progress.is_none_or(|progress| progress.finished.get()) {
        return Ok((response, Some(connection)));
    }
    connection.detach();
    Ok((response, None))
}

impl Attempt<'_> {
    /// Which deadline has passed, if one has; else sees to it that the next one wakes the task.
    ///
    /// While the body is still coming, who holds it up has `idle` ticks per piece: the client where it sends nothing, the
    /// endpoint where it takes nothing. From then on the endpoint has `first_byte`.
    fn overdue(&self, started: &mut Tick, progress: Option<&Progress>) -> Option<Failure> {
        let now = self.wheel.now();
        let (deadline, failure) = match progress.filter(|progress| !progress.finished.get()) {
            Some(progress) => {
                *started = now;
                let failure = if progress.starved.get() {
                    Failure::ClientBodyTimeout
                } else {
                    Failure::FirstByteTimeout
                };
                (progress.last.get() + self.idle, failure)
            }
            None => (*started + self.first_byte, Failure::FirstByteTimeout),
        };
        if now >= self.total {
            return Some(Failure::TotalTimeout);
        }
        if now >= deadline {
            return Some(failure);
        }
        self.wheel.arm(self.clock, deadline.min(self.total));
        None
    }
}

fn classify(error: TrySendError<Request<RequestBody>>, progress: Option<&Progress>) -> AttemptError {
    let mut error = error;
    if let Some(request) = error.take_message() {
        return AttemptError::unsent(Failure::Closed, request);
    }
    let error = error.into_error();
    let failure = if progress.is_some_and(|progress| progress.broken.get()) {
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

/// RFC 9110 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// The same request again; only for one without a body.
fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
