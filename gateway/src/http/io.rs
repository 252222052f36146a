//! A client's socket as the HTTP library reads it; notices when a request's head begins, and when bytes come that are of no
//! request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::CONNECTION_WINDOW_BYTES;
use super::preface::Protocol;
use super::refusals::Refusals;
use super::stream::Stream;
use crate::telemetry::metrics::WorkerMetrics;
use crate::worker::timer::{ConnectionClock, Tick};

/// Bytes read from an HTTP/2 client while no byte of a request or an answer moves: as much of bodies as its windows allow
/// before we take any, and then PING, SETTINGS or empty DATA frames, which cost us work and the client nothing. What an
/// honest client sends of these in such a time is a few.
const IDLE_READ_BYTES: u32 = CONNECTION_WINDOW_BYTES + 64 * 1024;

/// The socket of one connection. `Send`, as upgrades want it.
#[derive(Debug)]
pub struct DownstreamIo {
    stream: Stream,
    protocol: Protocol,
    /// What was read before it was known what the client speaks.
    first: Bytes,
    clock: Arc<ConnectionClock>,
    /// Ticks from the first byte of a head to its last.
    head: Tick,
    refusals: Refusals,
    metrics: Arc<WorkerMetrics>,
}

impl DownstreamIo {
    /// Wraps `stream`, of which `first` was read already.
    pub fn new(
        stream: Stream,
        protocol: Protocol,
        first: Bytes,
        clock: Arc<ConnectionClock>,
        head: Tick,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        Self { stream, protocol, first, clock, head, refusals: Refusals::default(), metrics }
    }

    /// Of `bufs`, the first `written` bytes were taken.
    fn note_written<'a>(&mut self, written: usize, bufs: impl Iterator<Item = &'a [u8]>) {
        match self.protocol {
            // A reader that takes its time but takes is no stalled one.
            Protocol::Http1 if written > 0 => self.clock.progress(),
            Protocol::Http1 => {}
            // What is written may be of any stream, or of none: each notices its own progress.
            Protocol::Http2 => {
                let mut left = written;
                for buf in bufs {
                    let taken = buf.get(..left).unwrap_or(buf);
                    left -= taken.len();
                    self.metrics.streams_refused.add(self.refusals.count(taken));
                }
            }
        }
    }

    fn note_read(&self, bytes: usize) -> io::Result<()> {
        match self.protocol {
            // The first bytes after a pause: from here on the head's own deadline counts. End of file changes nothing.
            Protocol::Http1 if self.clock.is_waiting() => self.clock.head_begins(self.head),
            Protocol::Http1 => {}
            Protocol::Http2 => {
                if self.clock.read(u64::try_from(bytes).unwrap_or(u64::MAX)) > u64::from(IDLE_READ_BYTES) {
                    return Err(io::Error::other(
                        "the client floods the connection with frames of no request",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl AsyncRead for DownstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let bytes = self.first.len().min(buf.remaining());
            buf.put_slice(self.first.get(..bytes).unwrap_or_default());
            self.first.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(self.note_read(buf.filled().len().saturating_sub(before))),
            other @ (Poll::Ready(Err(_)) | Poll::Pending) => other,
        }
    }
}

impl AsyncWrite for DownstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.note_written(written, std::iter::once(buf));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = polled {
            self.note_written(written, bufs.iter().map(|buf| &**buf));
        }
        polled
    }
}
