//! The HTTP/1.1 server of the control side: limits on everything, and an end that waits for what is in flight.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::answer::{self, Answer};
use crate::shutdown::Shutdown;

/// Limits of one control-side server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Time for a request's head, from the first byte of the connection or the end of the last answer on.
    pub head: Duration,
    /// Bytes that one connection may buffer.
    pub buffer_bytes: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        // 2 min: a client that beats every 30 s keeps its connection over three missed beats.
        Self { connections: 20_000, head: Duration::from_mins(2), buffer_bytes: 32 * 1024 }
    }
}

/// Serves `listener` until `shutdown`, then finishes the requests that have begun.
///
/// `handle` gets each request with the address of its peer. A failing accept (out of descriptors) is logged and tried
/// again after a pause; it never ends the server.
pub async fn serve<H, F>(listener: TcpListener, limits: ServerLimits, mut shutdown: Shutdown, handle: H)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let handle = Arc::new(handle);
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.pulled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed, trying again in 100 ms");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Small answers must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let handle = handle.clone();
        let mut stop = shutdown.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = handle(request, peer);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(limits.buffer_bytes)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.pulled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, %peer, "connection ended early");
            }
            drop(permit);
        });
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More than the limit: 413.
    TooLarge,
    /// The client went away or broke the framing: 400.
    Broken,
}

impl BodyError {
    /// The answer's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a whole body of at most `limit_bytes`; a declared length over it is refused before a byte is read.
pub async fn read_body(mut body: Incoming, limit_bytes: usize) -> Result<Bytes, BodyError> {
    let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX);
    if http_body::Body::size_hint(&body).lower() > limit {
        return Err(BodyError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit_bytes {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// The answer to a path that does not exist.
pub fn not_found() -> Answer {
    answer::json(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#)
}
