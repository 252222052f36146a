//! The client's body on its way to the endpoint, and how far it has come.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::fields;
use crate::worker::timer::{ConnectionClock, Tick};

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None: nothing to stream, nothing to watch.
    Empty,
    /// Streamed as it comes.
    Streamed {
        /// From the client.
        incoming: Incoming,
        /// Seen by who waits for the answer.
        progress: Rc<Progress>,
        /// For the time.
        clock: Arc<ConnectionClock>,
    },
}

/// How far a body has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// All of it has been handed over.
    pub finished: Cell<bool>,
    /// The client's side failed.
    pub broken: Cell<bool>,
    /// The client was asked for more and had sent nothing.
    pub starved: Cell<bool>,
    /// When the last piece was handed over.
    pub last: Cell<Tick>,
    /// Bytes handed over.
    pub bytes: Cell<u64>,
}

impl RequestBody {
    /// Wraps the body of a request that came over the connection of `clock`.
    pub fn new(incoming: Incoming, clock: &Arc<ConnectionClock>) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let progress = Rc::new(Progress::default());
        progress.last.set(clock.now());
        Self::Streamed { incoming, progress, clock: clock.clone() }
    }

    /// Where to see how far it has come; `None` for no body.
    pub fn progress(&self) -> Option<Rc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streamed { progress, .. } => Some(progress.clone()),
        }
    }

    /// Whether there is no body.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Streamed { incoming, progress, clock } = self.get_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        progress.starved.set(polled.is_pending());
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => progress.finished.set(true),
            Poll::Ready(Some(Err(_))) => progress.broken.set(true),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(0));
                progress.bytes.set(progress.bytes.get() + bytes);
                // An empty piece brings nobody further.
                if bytes > 0 || frame.is_trailers() {
                    progress.last.set(clock.now());
                    clock.progress();
                }
                if incoming.is_end_stream() {
                    progress.finished.set(true);
                }
            }
        }
        polled.map_ok(fields::strip_trailers)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed { incoming, .. } => incoming.size_hint(),
        }
    }
}
