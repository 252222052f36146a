//! A client's socket as hyper reads it; notices when a request's head begins.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::worker::timer::{ConnectionClock, Tick};

/// The socket of one connection. `Send`, as upgrades want it.
#[derive(Debug)]
pub struct DownstreamIo {
    stream: TokioIo<TcpStream>,
    clock: Arc<ConnectionClock>,
    /// Ticks from the first byte of a head to its last.
    head: Tick,
}

impl DownstreamIo {
    /// Wraps `stream`.
    pub fn new(stream: TcpStream, clock: Arc<ConnectionClock>, head: Tick) -> Self {
        Self { stream: TokioIo::new(stream), clock, head }
    }

    /// A reader that takes its time but takes is no stalled one.
    fn note_progress(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(bytes)) if *bytes > 0) {
            self.clock.progress();
        }
    }
}

impl Read for DownstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        // The first bytes after a pause: from here on the head's own deadline counts. End of file changes nothing.
        if polled.is_ready() && self.clock.is_waiting() {
            self.clock.head_begins(self.head);
        }
        polled
    }
}

impl Write for DownstreamIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_progress(&polled);
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
        self.note_progress(&polled);
        polled
    }
}
