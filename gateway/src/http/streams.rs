//! The tasks of an HTTP/2 connection: each stream is one, with a deadline of its own.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::Executor;

use crate::worker::Worker;
use crate::worker::timer::ConnectionClock;

/// Starts the tasks of one connection on its worker.
///
/// hyper calls the service for a new stream and hands the stream over right after that: so the clock that the service made
/// ([`StreamTasks::begin`]) is that of the next task. What comes without one is no stream.
#[derive(Clone, Debug)]
pub struct StreamTasks {
    worker: Rc<Worker>,
    next: Rc<RefCell<Option<Arc<ConnectionClock>>>>,
}

impl StreamTasks {
    /// For one connection of `worker`.
    pub fn new(worker: Rc<Worker>) -> Self {
        Self { worker, next: Rc::default() }
    }

    /// The clock of the stream that is handed over next, on the connection of `clock`.
    pub fn begin(&self, clock: &ConnectionClock) -> Arc<ConnectionClock> {
        let clock = self.worker.wheel.add_stream(clock);
        *self.next.borrow_mut() = Some(clock.clone());
        clock
    }
}

impl<F: Future + 'static> Executor<F> for StreamTasks {
    fn execute(&self, future: F) {
        match self.next.borrow_mut().take() {
            Some(clock) => {
                let task = StreamTask { worker: self.worker.clone(), future: Box::pin(future), clock };
                drop(tokio::task::spawn_local(task));
            }
            None => drop(tokio::task::spawn_local(async move {
                future.await;
            })),
        }
    }
}

/// One stream, until it ends or its deadline passes. Dropping what hyper made of it resets the stream.
struct StreamTask<F> {
    worker: Rc<Worker>,
    future: Pin<Box<F>>,
    clock: Arc<ConnectionClock>,
}

impl<F: Future> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.needs_waker() {
            self.clock.set_waker(cx.waker());
        }
        match self.future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            // Whatever the deadline was for, nobody inside dealt with it.
            Poll::Pending if self.clock.is_over() => {
                if self.clock.reader_is_late() {
                    self.worker.metrics.slow_readers.one();
                } else {
                    self.worker.metrics.streams_timed_out.one();
                }
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F> Drop for StreamTask<F> {
    fn drop(&mut self) {
        self.clock.close();
    }
}
