//! One connection to an endpoint: what sends on it and what drives it, kept together.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::request_body::RequestBody;

/// Bytes that one connection buffers of an answer's head: a larger head is a bad answer.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection that is driven by who holds it.
#[derive(Debug)]
pub struct UpstreamConnection {
    pub(super) sender: SendRequest<RequestBody>,
    driver: http1::Connection<TokioIo<TcpStream>, RequestBody>,
    over: bool,
}

impl UpstreamConnection {
    /// Speaks HTTP/1.1 on `stream`.
    pub async fn new(stream: TcpStream) -> hyper::Result<Self> {
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver, over: false })
    }

    /// Moves bytes in both directions. Whether the connection is over; once it is, this does nothing.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.over && Pin::new(&mut self.driver).poll(cx).is_ready() {
            // Errors reach the one who waits for the answer through the sender or the body.
            self.over = true;
        }
        self.over
    }

    /// Whether the next request can be sent right now.
    pub fn is_ready(&self) -> bool {
        !self.over && self.sender.is_ready()
    }

    /// Drives the connection on its own to the end of what is under way.
    pub fn detach(mut self) {
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            if self.drive(cx) { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}
