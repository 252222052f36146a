//! An HTTP/2 connection to an endpoint, which many requests use at once.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;

use super::connection::Begun;
use super::io::UpstreamStream;
use super::request_body::RequestBody;

/// Bytes of one answer that we take before the client has taken them.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// The same for all answers of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What waits for an endpoint to take it, per stream.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of an answer's head, as over HTTP/1.1.
const HEAD_BYTES: u32 = 64 * 1024;

/// Streams on one connection, whatever the endpoint offers: beyond it a second connection is better than a longer queue.
const STREAMS: usize = 100;

/// Between two looks whether the endpoint's settings have come.
const SETTINGS_LOOK: Duration = Duration::from_millis(1);

/// A connection in the pool. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct SharedConnection {
    sender: SendRequest<RequestBody>,
    state: Rc<State>,
}

#[derive(Debug)]
struct State {
    in_flight: Cell<usize>,
    driver: RefCell<Connection<UpstreamStream, RequestBody, WorkerTasks>>,
    over: Cell<bool>,
}

impl State {
    /// Streams that the endpoint takes at once: none until its settings have come.
    fn offered(&self) -> usize {
        self.driver.borrow().current_max_send_streams()
    }
}

/// One request's place on a connection, until dropped.
#[derive(Debug)]
pub struct StreamLease(Rc<State>);

impl SharedConnection {
    /// Speaks HTTP/2 on `stream`; what drives it runs as tasks of this worker until nobody holds the connection.
    ///
    /// Waits for the endpoint's settings: before them nobody knows how many requests it takes at once, and what is too many
    /// would wait on it for as long as the others last.
    pub async fn new(stream: UpstreamStream) -> hyper::Result<Self> {
        let (sender, driver) = Builder::new(WorkerTasks)
            .initial_max_send_streams(0)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEAD_BYTES)
            .handshake(stream)
            .await?;
        let state =
            Rc::new(State { in_flight: Cell::new(0), driver: RefCell::new(driver), over: Cell::new(false) });
        let driven = state.clone();
        tokio::task::spawn_local(poll_fn(move |cx| {
            // Errors reach who waits for an answer.
            let over = Pin::new(&mut *driven.driver.borrow_mut()).poll(cx).is_ready();
            driven.over.set(over);
            if over { Poll::Ready(()) } else { Poll::Pending }
        }));
        while state.offered() == 0 && !state.over.get() {
            // The library tells nobody when they come.
            tokio::time::sleep(SETTINGS_LOOK).await;
        }
        Ok(Self { sender, state })
    }

    /// A place for one more request, if there is one.
    pub fn lease(&self) -> Option<StreamLease> {
        let taken = self.state.in_flight.get();
        if self.is_over() || taken >= self.state.offered().min(STREAMS) {
            return None;
        }
        self.state.in_flight.set(taken + 1);
        Some(StreamLease(self.state.clone()))
    }

    /// Whether it takes no more requests.
    pub fn is_over(&self) -> bool {
        self.state.over.get() || self.sender.is_closed()
    }

    /// Whether no request uses it.
    pub fn is_idle(&self) -> bool {
        self.state.in_flight.get() == 0
    }

    /// Hands `request` over.
    pub(super) fn begin(&mut self, request: Request<RequestBody>) -> impl Future<Output = Begun> + use<> {
        self.sender.try_send_request(request)
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// hyper's tasks of a connection run on the worker that opened it.
#[derive(Clone, Copy, Debug)]
struct WorkerTasks;

impl<F: Future<Output = ()> + 'static> Executor<F> for WorkerTasks {
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(future));
    }
}
