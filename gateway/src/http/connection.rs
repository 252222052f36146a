//! One client connection, from its first byte to its last.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::forwarded::Peer;
use super::http1;
use super::io::DownstreamIo;
use super::pipeline;
use super::preface::{self, Protocol};
use super::stream::Stream;
use super::streams::StreamTasks;
use super::turn::{Downstream, Turn};
use crate::listener::census::Place;
use crate::listener::entrance::Entrance;
use crate::listener::proxy_protocol;
use crate::telemetry::metrics::RefusedHead;
use crate::tls::{Security, handshake};
use crate::worker::Worker;
use crate::worker::timer::{ConnectionClock, ticks};

/// What a client may send of one body before we have passed it on; more only moves bytes from its memory to ours.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// The same for all bodies of a connection.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What waits for one client to take it, per stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Counted as one of the worker's connections until dropped.
struct Open(Rc<Worker>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.connections_closed.one();
    }
}

/// Why a connection ended.
pub(super) enum Ended {
    /// As it should.
    Well,
    /// Its deadline passed and nobody inside dealt with it.
    TimedOut,
    /// The HTTP library ended it.
    Refused(hyper::Error),
    /// The socket failed before the first request.
    Broken(std::io::Error),
    /// The socket failed between two requests.
    Lost(std::io::Error),
}

/// Serves `stream` until either side ends it, a deadline passes, or the worker drains. The worker's load was counted up
/// by who handed the connection over.
///
/// An idle connection is not closed at once when the worker drains or its listener is closed: what a client sends at that
/// very moment would get no answer. It has a while for one more request, which is answered with `Connection: close`.
pub async fn serve(worker: Rc<Worker>, mut stream: Stream, peer: SocketAddr, entrance: Arc<Entrance>) {
    let _open = Open(worker.clone());
    let Some(client) = Box::pin(announced(&worker, &mut stream, peer, &entrance)).await else { return };
    let Ok(place) = place(&worker, client, &entrance) else { return };
    let Some((stream, security)) = Box::pin(secure(&worker, stream, peer, &entrance)).await else { return };
    let clock = worker.wheel.add();
    let downstream = Rc::new(Downstream {
        clock: clock.clone(),
        peer: Peer::new(client, security.is_some(), &worker.settings().trusted_proxies),
        security,
        peer_text: client.ip().to_canonical().to_string(),
        rules: RefCell::new(entrance.rules()),
        entrance,
        streams: Cell::new(0),
        requests: Cell::new(0),
        began: worker.wheel.now(),
        is_spent: Cell::new(false),
        place,
    });
    // A new connection has as long for its first head as for any other; it does not get to sit idle first.
    clock.head_begins(ticks(downstream.limits().head_timeout));
    // At its age it is told to end, quiet or busy.
    if let Some(age) = downstream.limits().connection_age {
        clock.remind(downstream.began.saturating_add(ticks(age)));
    }
    let ended = speak(&worker, &downstream, stream).await;
    let too_slow = clock.reader_is_late();
    clock.close();
    match ended {
        Ended::Well => {}
        _ if too_slow => worker.metrics.slow_readers.one(),
        Ended::TimedOut => worker.metrics.connections_timed_out.one(),
        Ended::Refused(error) if error.is_parse_too_large() => {
            worker.metrics.refused_head(RefusedHead::TooLarge);
        }
        Ended::Refused(error) if error.is_parse() => worker.metrics.refused_head(RefusedHead::Malformed),
        Ended::Refused(error) => {
            worker.metrics.connections_broken.one();
            tracing::debug!(%error, %peer, "connection ended early");
        }
        Ended::Lost(error) => {
            worker.metrics.connections_broken.one();
            tracing::debug!(%error, %peer, "connection ended between requests");
        }
        Ended::Broken(error) => tracing::debug!(%error, %peer, "connection ended before a request"),
    }
}

/// Who the client is: the peer, or whom a peer that is believed names before the client's first byte; `None`: it must and did
/// not.
async fn announced(
    worker: &Worker,
    stream: &mut Stream,
    peer: SocketAddr,
    entrance: &Entrance,
) -> Option<SocketAddr> {
    let ip = peer.ip().to_canonical();
    if !entrance.rules().proxy_protocol.iter().any(|net| net.contains(&ip)) {
        return Some(peer);
    }
    let clock = worker.wheel.add();
    clock.head_begins(ticks(entrance.rules().rules.limits.head_timeout));
    let read = in_time(&clock, proxy_protocol::read(stream)).await;
    clock.close();
    match read {
        Some(Ok(client)) => Some(client.unwrap_or(peer)),
        Some(Err(error)) => {
            tracing::debug!(%error, %peer, "connection closed");
            worker.metrics.refused_head(RefusedHead::ProxyProtocol);
            None
        }
        None => {
            worker.metrics.connections_timed_out.one();
            None
        }
    }
}

/// One of the places that its address has; `Err`: they are all taken.
fn place(worker: &Worker, client: SocketAddr, entrance: &Entrance) -> Result<Option<Place>, ()> {
    let settings = worker.settings();
    let ip = client.ip().to_canonical();
    let Some(limit) = entrance.rules().rules.limits.connections_per_address else { return Ok(None) };
    if settings.trusted_proxies.iter().any(|net| net.contains(&ip)) {
        return Ok(None);
    }
    let place = entrance.census().enter(ip, limit);
    if place.is_none() {
        worker.metrics.connections_over_address.one();
    }
    place.map(Some).ok_or(())
}

/// The stream to be read, after its handshake where the listener asks for one; `None`: none came about.
async fn secure(
    worker: &Worker,
    stream: Stream,
    peer: SocketAddr,
    entrance: &Entrance,
) -> Option<(Stream, Option<Security>)> {
    let Some(tls) = entrance.tls() else { return Some((stream, None)) };
    // No listener with TLS is at a Unix socket: that is refused with the configuration.
    let Stream::Tcp(stream) = stream else { return None };
    match handshake::handshake(&tls, worker.index, stream).await {
        Ok(secured) => Some((Stream::Tls(Box::new(secured.stream)), Some(secured.security))),
        Err(why) => {
            tracing::debug!(%peer, listener = tls.name, why = why.label(), "no TLS connection came about");
            None
        }
    }
}

/// Finds out what the client speaks and speaks it.
async fn speak(worker: &Rc<Worker>, downstream: &Rc<Downstream>, mut stream: Stream) -> Ended {
    let clock = &downstream.clock;
    let (protocol, first) = match in_time(clock, preface::read(&mut stream)).await {
        Some(Ok(Some(read))) => read,
        Some(Ok(None)) => {
            worker.metrics.refused_head(RefusedHead::Malformed);
            return Ended::Broken(std::io::Error::other("the client's first line is of no version of HTTP"));
        }
        Some(Err(error)) => return Ended::Broken(error),
        None => return Ended::TimedOut,
    };
    // RFC 9113 3.2: inside TLS, HTTP/2 is what was agreed on at the handshake, and nothing else is.
    if downstream.security.as_ref().is_some_and(|security| security.http2 != (protocol == Protocol::Http2)) {
        return Ended::Broken(std::io::Error::other("the client speaks another protocol than it agreed on"));
    }
    let head = ticks(downstream.limits().head_timeout);
    let io = DownstreamIo::new(stream, protocol, first, clock.clone(), head, worker.metrics.clone());
    if protocol == Protocol::Http1 {
        return http1::speak(worker, downstream, io).await;
    }
    // Boxed, as all that is only some connections': most are idle ones of HTTP/1.1, and small.
    match Box::pin(speak_http2(worker, downstream, TokioIo::new(io))).await {
        Some(Ok(())) => Ended::Well,
        Some(Err(error)) => Ended::Refused(error),
        None => Ended::TimedOut,
    }
}

async fn speak_http2(
    worker: &Rc<Worker>,
    downstream: &Rc<Downstream>,
    io: TokioIo<DownstreamIo>,
) -> Option<hyper::Result<()>> {
    let limits = downstream.limits();
    let tasks = StreamTasks::new(worker.clone());
    let service = service_fn(|request| {
        let clock = tasks.begin(&downstream.clock);
        let (worker, turn) = (worker.clone(), Turn::stream(downstream.clone(), clock));
        async move { Ok::<_, Infallible>(pipeline::handle(worker, turn, request).await) }
    });
    let connection = pin!(
        http2::Builder::new(tasks.clone())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(limits.streams)
            .max_pending_accept_reset_streams(limits.resets)
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .serve_connection(io, service)
    );
    // Who has had its time is told so (GOAWAY), and has as long to leave as a head may take.
    let is_over = || {
        let over = downstream.clock.is_over();
        if over {
            worker.metrics.connections_timed_out.one();
            downstream.clock.hold(ticks(downstream.limits().head_timeout));
        }
        over
    };
    let shut_down = http2::Connection::graceful_shutdown;
    in_time(&downstream.clock, draining(worker, downstream, connection, is_over, shut_down)).await
}

/// Drives `connection`, and tells it once when it is to end: the worker drains, its listener was closed, or `is_over` says
/// so.
async fn draining<C: Future>(
    worker: &Worker,
    downstream: &Downstream,
    mut connection: Pin<&mut C>,
    is_over: impl Fn() -> bool,
    shut_down: impl Fn(Pin<&mut C>),
) -> C::Output {
    let mut told = false;
    poll_fn(|cx| {
        if !told && (downstream.last_request_within(worker).is_some() || is_over()) {
            told = true;
            shut_down(connection.as_mut());
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// `work`, or `None` when the deadline passed: whatever it was for, nobody inside dealt with it.
pub(super) async fn in_time<F: Future>(clock: &ConnectionClock, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if clock.needs_waker() {
            clock.set_waker(cx.waker());
        }
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if clock.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
