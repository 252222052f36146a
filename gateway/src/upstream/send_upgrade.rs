//! One attempt at a handshake: a request that may turn its connection into something else, so always on a new one that never
//! goes to the pool.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response, Version};
use hyper::client::conn::http1;

use super::attempt::{Attempt, classify};
use super::connect::connect;
use super::connection::BUFFER_BYTES;
use super::error::{AttemptError, Failure};
use super::io::UpstreamIo;
use super::request_body::RequestBody;
use super::response_body::{Carrier, ResponseBody};
use crate::table::Endpoint;

/// As [`send`](super::send::send). An answer of 101 has hyper's `OnUpgrade` in its extensions.
pub(super) async fn send(
    attempt: &Attempt<'_>,
    endpoint: &Endpoint,
    mut request: Request<RequestBody>,
) -> Result<Response<ResponseBody>, AttemptError> {
    let in_flight = attempt.pool.begin(endpoint.id);
    let connecting = async {
        let stream = connect(endpoint, attempt.policy).await?;
        http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .handshake(UpstreamIo::new(stream))
            .await
            .map_err(|_| Failure::Connect)
    };
    let (mut sender, driver) = match attempt.connected(endpoint, attempt.connect_deadline(), connecting).await
    {
        Ok(connection) => connection,
        Err(failure) => return Err(AttemptError::unsent(failure, request)),
    };
    tokio::task::spawn_local(async move {
        // Errors reach who waits for the answer.
        let _ = driver.with_upgrades().await;
    });
    *request.version_mut() = Version::HTTP_11;
    let mut started = attempt.wheel.now();
    let mut sending = pin!(sender.try_send_request(request));
    let response = poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.map_err(|error| classify(error, None))),
        Poll::Pending => match attempt.overdue(&mut started, None) {
            Some(failure) => Poll::Ready(Err(AttemptError::lost(failure))),
            None => Poll::Pending,
        },
    })
    .await?;
    Ok(attempt.answer(endpoint, response, Carrier::Detached, in_flight))
}
