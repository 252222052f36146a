//! One attempt: a request to one endpoint, up to the head of its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response, Version};
use hyper::body::Incoming;

pub use super::attempt::Attempt;
use super::attempt::{classify, copy_of, is_repeatable};
use super::connect::connect;
use super::connection::UpstreamConnection;
use super::error::{AttemptError, Failure};
use super::request_body::RequestBody;
use super::response_body::{Carrier, ResponseBody};
use super::{send_http2, send_upgrade};
use crate::table::{Endpoint, Protocol};
use crate::worker::timer::Tick;

/// Ticks (50 ms) that a connection may have been idle and still carry a request that cannot be repeated: a server that
/// closes idle connections does so after seconds, and a close that crosses our request loses it.
const FRESH_ENOUGH: Tick = 20;

/// Sends `request` to `endpoint` and waits for the head of the answer.
///
/// An open connection is used when there is one. If it turns out to have been closed, the request goes out once more on
/// a new connection, provided that it was not written at all or may be repeated. If that one is closed too, the request
/// goes back to the caller for another endpoint. Cancel safe: dropping the future drops the connection, or the stream.
pub async fn send(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, AttemptError> {
    if attempt.upgrade {
        return send_upgrade::send(attempt, endpoint, request).await;
    }
    match endpoint.spec.protocol {
        Protocol::Http1 => send_http1(attempt, endpoint, request).await,
        Protocol::Http2 => send_http2::send(attempt, endpoint, request).await,
    }
}

async fn send_http1(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, AttemptError> {
    let repeatable = is_repeatable(&request);
    let in_flight = attempt.pool.begin(endpoint.id);
    let mut request = request;
    if let Some(connection) = idle_connection(attempt, endpoint, repeatable).await {
        let copy = repeatable.then(|| copy_of(&request));
        match exchange(attempt, connection, request).await {
            Ok((response, carrier)) => return Ok(attempt.answer(endpoint, response, carrier, in_flight)),
            Err(AttemptError { failure: Failure::Closed, again }) => match again.map(|r| *r).or(copy) {
                Some(again) => request = again,
                None => return Err(AttemptError::lost(Failure::Closed)),
            },
            Err(error) => return Err(error),
        }
    }
    let connecting = async {
        let stream = connect(endpoint, attempt.policy).await?;
        UpstreamConnection::new(stream).await.map_err(|_| Failure::Connect)
    };
    let connection = match attempt.connected(endpoint, attempt.connect_deadline(), connecting).await {
        Ok(connection) => connection,
        Err(failure) => return Err(AttemptError::unsent(failure, request)),
    };
    let copy = repeatable.then(|| copy_of(&request));
    match exchange(attempt, connection, request).await {
        Ok((response, carrier)) => Ok(attempt.answer(endpoint, response, carrier, in_flight)),
        // A server that is going away resets what it had not accepted yet; another one may answer.
        Err(AttemptError { failure: Failure::Closed, again }) => {
            Err(AttemptError { failure: Failure::Closed, again: again.or(copy.map(Box::new)) })
        }
        Err(error) => Err(error),
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

/// Writes the request and waits for the head, driving the connection itself. When the answer comes before the request's
/// body is through, the connection goes on by itself until both are.
async fn exchange(
    attempt: &Attempt<'_>,
    mut connection: UpstreamConnection,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Carrier), AttemptError> {
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
        return Ok((response, Carrier::Own(connection)));
    }
    connection.detach();
    Ok((response, Carrier::Detached))
}
