//! A client's socket as the HTTP library reads it; notices when a request's head begins, and when bytes come that are of no
//! request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::CONNECTION_WINDOW_BYTES;
use super::preface::{self, Protocol};
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

    /// `bytes` were read by who is through with this socket, and are to be read again.
    pub fn unread(&mut self, bytes: Bytes) {
        // An empty piece of a buffer keeps all of it.
        if !bytes.is_empty() {
            self.first = bytes;
        }
    }

    /// Ready when there is something to read, or the end. Nothing is held while there is nothing.
    pub fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            self.first = ready!(preface::poll_first(&mut self.stream, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writing `bufs` came to `written`.
    fn note_written<'a>(&mut self, written: &Poll<io::Result<usize>>, bufs: impl Iterator<Item = &'a [u8]>) {
        self.clock.note_flushed(false);
        match (self.protocol, written) {
            // A reader that takes its time but takes is no stalled one.
            (Protocol::Http1, Poll::Ready(Ok(bytes))) if *bytes > 0 => {
                self.clock.reader_took(*bytes);
                self.clock.progress();
            }
            (Protocol::Http1, Poll::Pending) => self.clock.reader_waits(1),
            // What is written may be of any stream, or of none: each notices its own progress.
            (Protocol::Http2, Poll::Ready(Ok(bytes))) => {
                let mut left = *bytes;
                for buf in bufs {
                    let taken = buf.get(..left).unwrap_or(buf);
                    left -= taken.len();
                    self.metrics.streams_refused.add(self.refusals.count(taken));
                }
            }
            (Protocol::Http1, Poll::Ready(_)) | (Protocol::Http2, Poll::Ready(Err(_)) | Poll::Pending) => {}
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
            if self.first.is_empty() {
                self.first = Bytes::new();
            }
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
        self.note_written(&polled, std::iter::once(buf));
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.clock.note_flushed(matches!(polled, Poll::Ready(Ok(()))));
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.clock.note_flushed(false);
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
        self.note_written(&polled, bufs.iter().map(|buf| &**buf));
        polled
    }
}
