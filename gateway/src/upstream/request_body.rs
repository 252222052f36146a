//! The client's body on its way to the endpoint, and how far it has come.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::fields::{self, OwnFields};
use crate::worker::pace;
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
        /// It comes over an HTTP/2 stream.
        is_stream: bool,
        /// Seen by who waits for the answer.
        progress: Rc<Progress>,
        /// For the time.
        clock: Arc<ConnectionClock>,
        /// Bytes that may still come.
        left: u64,
        /// What its trailers may not say, beside what none may.
        own: Option<Arc<OwnFields>>,
    },
}

/// How far a body has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// All of it has been handed over.
    pub finished: Cell<bool>,
    /// More came than may.
    pub too_large: Cell<bool>,
    /// The client's side failed.
    pub broken: Cell<bool>,
    /// The client was asked for more and had sent nothing.
    pub starved: Cell<bool>,
    /// When the last piece was handed over, or the end was seen.
    pub last: Cell<Tick>,
    /// Bytes handed over.
    pub bytes: Cell<u64>,
    /// Ticks for which the client was waited for, without the wait that goes on now.
    pub waited: Cell<Tick>,
    /// When the wait that goes on now began.
    pub waiting_since: Cell<Tick>,
    /// Nobody wants it any more.
    cut: Cell<bool>,
    /// Who waits for the client's next piece, and may not be the task of the request any more.
    waiting: RefCell<Option<Waker>>,
}

impl Progress {
    fn wakes(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waiting| waiting.will_wake(waker)) {
            *waiting = Some(waker.clone());
        }
    }

    /// The request is over: what is still to come of its body breaks off, so that the endpoint does not take it for whole.
    pub fn cut(&self) {
        if self.finished.get() {
            return;
        }
        self.cut.set(true);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}

impl RequestBody {
    /// Wraps the body of a request that came over the connection of `clock`, or over one of its HTTP/2 streams.
    pub fn new(incoming: Incoming, clock: &Arc<ConnectionClock>, is_stream: bool) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let progress = Rc::new(Progress::default());
        progress.last.set(clock.now());
        Self::Streamed { incoming, is_stream, progress, clock: clock.clone(), left: u64::MAX, own: None }
    }

    /// From here on it may have no more than `limit` bytes; whether what it declares is within that.
    pub fn limit(&mut self, limit: u64) -> bool {
        let Self::Streamed { incoming, left, .. } = self else { return true };
        *left = limit;
        // The declared length, or nothing.
        incoming.size_hint().lower() <= limit
    }

    /// From here on its trailers may not say what `own` names.
    pub fn guard(&mut self, fields: &Arc<OwnFields>) {
        if let Self::Streamed { own, .. } = self {
            *own = Some(fields.clone());
        }
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

/// Why a body was not passed on to its end.
#[derive(Debug)]
pub enum BodyError {
    /// The client's side failed.
    Client(hyper::Error),
    /// There was more of it than may be.
    TooLarge,
    /// The client reset the stream, or the request is over before it was sent.
    Cancelled,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => write!(f, "the client's body broke off: {error}"),
            Self::TooLarge => f.write_str("the client's body is too large"),
            Self::Cancelled => f.write_str("the request was cancelled before the end of its body"),
        }
    }
}

impl std::error::Error for BodyError {}

impl Progress {
    /// The client is waited for at `now`, or sent something.
    fn note_waiting(&self, waiting: bool, now: Tick) {
        match (self.starved.replace(waiting), waiting) {
            (false, true) => self.waiting_since.set(now),
            (true, false) => {
                self.waited.set(self.waited.get() + now.saturating_sub(self.waiting_since.get()));
            }
            (true, true) | (false, false) => {}
        }
    }

    /// The tick at which a client that is waited for is too slow, where it owes `rate` bytes per second.
    pub fn too_slow_at(&self, rate: u64) -> Tick {
        pace::too_slow_at(rate, self.bytes.get(), self.waited.get(), self.waiting_since.get())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Streamed { incoming, is_stream, progress, clock, left, own } = self.get_mut() else {
            return Poll::Ready(None);
        };
        if progress.cut.get() {
            return Poll::Ready(Some(Err(BodyError::Cancelled)));
        }
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        progress.note_waiting(polled.is_pending(), clock.now());
        match polled {
            Poll::Pending => {
                progress.wakes(cx.waker());
                Poll::Pending
            }
            // The library makes an end of a stream that was reset with NO_ERROR: half a body would be taken for a whole one.
            Poll::Ready(None) if *is_stream && !incoming.is_end_stream() => {
                progress.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Cancelled)))
            }
            Poll::Ready(None) => {
                progress.last.set(clock.now());
                progress.finished.set(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                progress.broken.set(true);
                Poll::Ready(Some(Err(BodyError::Client(error))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(0));
                let Some(still) = left.checked_sub(bytes) else {
                    progress.too_large.set(true);
                    return Poll::Ready(Some(Err(BodyError::TooLarge)));
                };
                *left = still;
                progress.bytes.set(progress.bytes.get() + bytes);
                // An empty piece brings nobody further.
                if bytes > 0 || frame.is_trailers() {
                    progress.last.set(clock.now());
                    clock.progress();
                }
                if incoming.is_end_stream() {
                    progress.finished.set(true);
                }
                let mut frame = fields::strip_trailers(frame);
                if let (Some(own), Some(trailers)) = (own, frame.trailers_mut()) {
                    own.strip(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::pace::GRACE;

    #[test]
    fn a_client_owes_its_rate_only_for_the_time_in_which_it_is_waited_for() {
        let progress = Progress::default();
        progress.note_waiting(true, 100);
        assert_eq!(progress.too_slow_at(100), 100 + GRACE);
        // 200 bytes at 100 a second are two seconds more.
        progress.note_waiting(false, 150);
        progress.bytes.set(200);
        progress.note_waiting(true, 10_000);
        assert_eq!(progress.too_slow_at(100), 10_000 + GRACE + 40 - 50);
        progress.note_waiting(true, 10_010);
        assert_eq!(progress.too_slow_at(100), 10_000 + GRACE + 40 - 50, "it is one wait");
        progress.note_waiting(false, 20_000);
        progress.note_waiting(true, 30_000);
        assert_eq!(progress.too_slow_at(100), 30_000, "nothing is left");
    }
}
