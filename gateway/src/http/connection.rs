//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpStream;

use super::forwarded::Peer;
use super::io::DownstreamIo;
use super::pipeline;
use crate::telemetry::metrics::RefusedHead;
use crate::worker::Worker;
use crate::worker::timer::ConnectionClock;

/// What the requests of one connection share.
#[derive(Debug)]
pub struct Downstream {
    /// Its deadline.
    pub clock: Arc<ConnectionClock>,
    /// What is forwarded about its peer.
    pub peer: Peer,
    /// The peer's address, for log lines.
    pub peer_text: String,
}

/// Counted as one of the worker's connections until dropped.
struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections_closed.one();
    }
}

/// Serves `stream` until either side ends it, a deadline passes, or the worker drains. The worker's load was counted up
/// by who handed the connection over.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let _open = Open(worker.clone());
    let settings = worker.settings.clone();
    let clock = worker.wheel.add();
    let downstream = Rc::new(Downstream {
        clock: clock.clone(),
        peer: Peer::new(peer, &settings.trusted_proxies),
        peer_text: peer.ip().to_canonical().to_string(),
    });
    // A new connection has as long for its first head as for any other; it does not get to sit idle first.
    clock.head_begins(settings.head);
    let io = DownstreamIo::new(stream, clock.clone(), settings.head);
    let service = service_fn(|request| {
        let (worker, downstream) = (worker.clone(), downstream.clone());
        async move { Ok::<_, Infallible>(pipeline::handle(worker, downstream, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(settings.limits.header_bytes.max(8192))
            .max_headers(settings.limits.header_count)
            .max_header_size(settings.limits.header_bytes)
            .serve_connection(io, service)
    );
    let mut told = false;
    let ended = poll_fn(|cx| {
        if clock.needs_waker() {
            clock.set_waker(cx.waker());
        }
        if worker.draining.get() && !told {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            // Whatever the deadline was for, nobody inside dealt with it.
            Poll::Pending if clock.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    clock.close();
    match ended {
        None => worker.metrics.connections_timed_out.one(),
        Some(Ok(())) => {}
        Some(Err(error)) if error.is_parse_too_large() => worker.metrics.refused_head(RefusedHead::TooLarge),
        Some(Err(error)) if error.is_parse() => worker.metrics.refused_head(RefusedHead::Malformed),
        Some(Err(error)) => tracing::debug!(%error, %peer, "connection ended early"),
    }
}
