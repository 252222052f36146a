//! Bytes between a client and a service that have left HTTP behind: a WebSocket.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use vertice_config::gateway::TimeoutsConfig;

use super::body::{DownstreamBody, Story};
use super::connection::in_time;
use super::websocket::Handshake;
use crate::upstream::ResponseBody;
use crate::worker::Worker;
use crate::worker::timer::{ConnectionClock, Tick, ticks};

/// Bytes in each direction on their way: most messages fit, and ten thousand tunnels are 160 MB.
const BUFFER_BYTES: usize = 8 * 1024;

/// One tunnel to be.
struct Tunnel {
    /// The request that asked for it; it ends with the tunnel.
    story: Story,
    client: OnUpgrade,
    service: OnUpgrade,
    /// Counts the request at its endpoint for as long as the tunnel lasts.
    answer: ResponseBody,
    /// Ticks without a byte in either direction.
    idle: Tick,
    /// The tick at which it is over.
    total: Tick,
}

/// Answers the handshake with `response`, and opens the tunnel for when both sides are through with HTTP. It lasts until
/// either side ends it, or its time is over, and counts as a connection of its worker: the client's own has ended then, or
/// goes on with other streams.
pub fn between(
    story: Story,
    handshake: Handshake,
    mut response: Response<ResponseBody>,
    timeouts: &TimeoutsConfig,
) -> Response<DownstreamBody> {
    let worker = story.worker.clone();
    let service = hyper::upgrade::on(&mut response);
    let (head, answer) = response.into_parts();
    let total = timeouts.total.map_or(Tick::MAX / 2, |total| worker.wheel.now() + ticks(total));
    let idle = ticks(timeouts.stream_idle);
    let tunnel = Tunnel { story, client: handshake.client, service, answer, idle, total };
    worker.load.fetch_add(1, Ordering::Relaxed);
    worker.metrics.tunnels_opened.one();
    tokio::task::spawn_local(async move {
        run(tunnel, &worker).await;
        worker.metrics.tunnels_closed.one();
        worker.load.fetch_sub(1, Ordering::Relaxed);
    });
    Response::from_parts(head, DownstreamBody::none())
}

async fn run(tunnel: Tunnel, worker: &Worker) {
    let Tunnel { mut story, client, service, answer: _in_flight, idle, total } = tunnel;
    let clock = worker.wheel.add();
    clock.stream(idle, total);
    let (inwards, outwards) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let copied = in_time(&clock, async {
        let (client, service) = (client.await?, service.await?);
        let watched = |upgraded, read: &Rc<Cell<u64>>| Watched {
            io: TokioIo::new(upgraded),
            clock: clock.clone(),
            read: read.clone(),
        };
        let (mut client, mut service) = (watched(client, &inwards), watched(service, &outwards));
        let copying =
            copy_bidirectional_with_sizes(&mut client, &mut service, BUFFER_BYTES, BUFFER_BYTES).await;
        // An end that is a reset is an end: WebSocket has its own goodbye, which passed through.
        Ok::<_, hyper::Error>(copying.is_ok())
    })
    .await;
    clock.close();
    if copied.is_none() {
        worker.metrics.tunnels_timed_out.one();
    }
    story.ended_as_tunnel(inwards.get(), outwards.get(), matches!(copied, Some(Ok(true))));
}

/// One side; what is read from it counts as progress.
struct Watched {
    io: TokioIo<Upgraded>,
    clock: Arc<ConnectionClock>,
    read: Rc<Cell<u64>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        if bytes > 0 {
            self.read.set(self.read.get() + u64::try_from(bytes).unwrap_or(0));
            self.clock.progress();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
