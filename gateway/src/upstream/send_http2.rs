//! One attempt over HTTP/2: a stream of a connection that others use, too.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::uri::Scheme as UriScheme;
use http::{Request, Response};
use hyper::body::Incoming;
use vertice_registry_api::url::Scheme;

use super::attempt::{Attempt, classify, copy_of, is_repeatable};
use super::connect::connect;
use super::error::{AttemptError, Failure};
use super::pool::Opening;
use super::request_body::RequestBody;
use super::response_body::{Carrier, ResponseBody};
use super::shared::{SharedConnection, StreamLease};
use super::translate::{to_http1, to_http2};
use crate::table::Endpoint;

/// As [`send`](super::send::send), for an endpoint that speaks HTTP/2.
pub(super) async fn send(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, AttemptError> {
    let in_flight = attempt.pool.begin(endpoint.id);
    let repeatable = is_repeatable(&request);
    let mut request = request;
    if let Some((connection, lease)) = attempt.pool.share(endpoint.id, attempt.wheel.now()) {
        match once(attempt, endpoint, connection, request, repeatable).await {
            Ok(response) => return Ok(attempt.answer(endpoint, response, Carrier::Shared(lease), in_flight)),
            Err(AttemptError { failure: Failure::Closed, again: Some(again) }) => request = *again,
            Err(error) => return Err(error),
        }
    }
    let (connection, lease) = match fresh(attempt, endpoint).await {
        Ok(fresh) => fresh,
        Err(failure) => return Err(AttemptError::unsent(failure, request)),
    };
    let response = once(attempt, endpoint, connection, request, repeatable).await?;
    Ok(attempt.answer(endpoint, response, Carrier::Shared(lease), in_flight))
}

/// One exchange; a failure has the request as HTTP/1.1 knows it, where it may be sent again.
async fn once(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    connection: SharedConnection,
    mut request: Request<RequestBody>,
    repeatable: bool,
) -> Result<Response<Incoming>, AttemptError> {
    let copy = repeatable.then(|| copy_of(&request));
    let scheme = match endpoint.spec.url.scheme() {
        Scheme::Http => UriScheme::HTTP,
        Scheme::Https => UriScheme::HTTPS,
    };
    to_http2(&mut request, scheme);
    exchange(attempt, connection, request).await.map_err(|error| match error {
        AttemptError { failure, again: Some(mut unsent) } => {
            to_http1(&mut unsent);
            AttemptError { failure, again: Some(unsent) }
        }
        // Closed, or the stream refused or reset: another connection or another endpoint may answer.
        AttemptError { failure: Failure::Closed, again: None } => {
            AttemptError { failure: Failure::Closed, again: copy.map(Box::new) }
        }
        error @ AttemptError { again: None, .. } => error,
    })
}

async fn exchange(
    attempt: &Attempt<'_>,
    mut connection: SharedConnection,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, AttemptError> {
    let progress = request.body().progress();
    let mut started = attempt.wheel.now();
    let mut sending = pin!(connection.begin(request));
    poll_fn(|cx| {
        if let Poll::Ready(result) = sending.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| classify(error, progress.as_deref())));
        }
        match attempt.overdue(&mut started, progress.as_deref()) {
            Some(failure) => Poll::Ready(Err(AttemptError::lost(failure))),
            None => Poll::Pending,
        }
    })
    .await
}

/// A place on a connection that was just opened: by this request, or by another one that it waited for. A burst of requests
/// opens as many connections as their streams need, not one each.
async fn fresh(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
) -> Result<(SharedConnection, StreamLease), Failure> {
    let deadline = attempt.connect_deadline();
    let opening = loop {
        match attempt.pool.opening(endpoint.id) {
            Opening::Ours(opening) => break opening,
            Opening::Theirs(opened) => attempt.before(deadline, opened.wait()).await??,
        }
        if let Some(place) = attempt.pool.share(endpoint.id, attempt.wheel.now()) {
            return Ok(place);
        }
    };
    let connecting = async {
        let stream = connect(endpoint, attempt.policy).await?;
        SharedConnection::new(stream).await.map_err(|_| Failure::Connect)
    };
    let connection = attempt.connected(endpoint, deadline, connecting).await.inspect_err(|failure| {
        // Whose time was over says nothing of anybody else's.
        if failure.blames_endpoint() {
            opening.failed(*failure);
        }
    })?;
    let lease = connection.lease().ok_or(Failure::Connect)?;
    attempt.pool.put_shared(endpoint.id, connection.clone(), attempt.wheel.now());
    Ok((connection, lease))
}
