//! One connection to an endpoint: what sends on it and what drives it, kept together.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};

use super::io::{UpstreamIo, UpstreamStream};
use super::request_body::RequestBody;

/// What comes of a request that was handed over.
pub(super) type Begun = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

/// Bytes that one connection buffers of an answer's head: a larger head is a bad answer.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// A connection that is driven by who holds it. One allocation for its whole life: hyper's half is most of a kilobyte,
/// and a connection changes hands several times per request.
#[derive(Debug)]
pub struct UpstreamConnection(Box<Halves>);

#[derive(Debug)]
struct Halves {
    sender: SendRequest<RequestBody>,
    driver: http1::Connection<UpstreamIo, RequestBody>,
    over: bool,
}

impl UpstreamConnection {
    /// Speaks HTTP/1.1 on `stream`.
    pub async fn new(stream: UpstreamStream) -> hyper::Result<Self> {
        let (sender, driver) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(UpstreamIo::new(stream)).await?;
        Ok(Self(Box::new(Halves { sender, driver, over: false })))
    }

    /// Moves bytes in both directions. Whether the connection is over; once it is, this does nothing.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let halves = &mut *self.0;
        if !halves.over && Pin::new(&mut halves.driver).poll(cx).is_ready() {
            // Errors reach the one who waits for the answer through the sender or the body.
            halves.over = true;
        }
        halves.over
    }

    /// Whether the next request can be sent right now.
    pub fn is_ready(&self) -> bool {
        !self.0.over && self.0.sender.is_ready()
    }

    /// Hands `request` to the connection, which must be ready; whoever waits for the answer drives it.
    pub(super) fn begin(&mut self, request: Request<RequestBody>) -> impl Future<Output = Begun> + use<> {
        self.0.sender.try_send_request(request)
    }

    /// Drives the connection on its own to the end of what is under way.
    pub fn detach(mut self) {
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            if self.drive(cx) { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}
