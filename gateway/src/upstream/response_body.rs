//! An endpoint's answer on its way to the client; drives the connection that it comes over, and gives it back.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::UpstreamConnection;
use super::pool::{InFlight, Pool};
use super::shared::StreamLease;
use crate::fields;
use crate::table::EndpointId;
use crate::worker::timer::ConnectionClock;

/// A streamed answer.
#[derive(Debug)]
pub struct ResponseBody {
    pub(super) incoming: Incoming,
    pub(super) carrier: Carrier,
    pub(super) endpoint: EndpointId,
    pub(super) pool: Rc<Pool>,
    pub(super) clock: Arc<ConnectionClock>,
    pub(super) ended: bool,
    /// Counted until the last byte.
    pub(super) _in_flight: InFlight,
}

/// What an answer comes over.
#[derive(Debug)]
pub enum Carrier {
    /// A connection of its own, driven here and given back.
    Own(UpstreamConnection),
    /// One that is driven elsewhere and will not be used again.
    Detached,
    /// A stream of one that others use, too.
    Shared(StreamLease),
}

/// Why an answer broke off after its head was sent: nothing can be told to the client but by closing.
#[derive(Debug)]
pub enum StreamError {
    /// The endpoint's connection failed.
    Upstream(hyper::Error),
    /// No byte came in time, or the whole request took too long.
    Timeout,
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Upstream(error) => write!(f, "the answer broke off: {error}"),
            Self::Timeout => f.write_str("the answer took too long"),
        }
    }
}

impl std::error::Error for StreamError {}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        if let Carrier::Own(connection) = &mut this.carrier {
            connection.drive(cx);
        }
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                // While the client takes nothing this is not polled: the same deadline then ends a reader that stalls.
                if frame.data_ref().is_none_or(|data| !data.is_empty()) {
                    this.clock.progress();
                }
                Poll::Ready(Some(Ok(fields::strip_trailers(frame))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(StreamError::Upstream(error)))),
            Poll::Ready(None) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending if this.clock.is_over() => Poll::Ready(Some(Err(StreamError::Timeout))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for ResponseBody {
    /// A connection whose answer was read to its end goes back; whether it is really idle is seen when it is taken.
    fn drop(&mut self) {
        if let Carrier::Own(connection) = std::mem::replace(&mut self.carrier, Carrier::Detached)
            && (self.ended || self.incoming.is_end_stream())
        {
            self.pool.put(self.endpoint, connection, self.clock.now());
        }
    }
}
