//! A connection over HTTP/1.1: awake while there is something to do, and asleep between requests.
//!
//! The library holds two buffers of 8 KiB and the room for a request's whole story for as long as its connection lives. A
//! connection on which nothing has happened for a while is taken from it, with its socket and nothing else, and given back with
//! the first bytes of the next request: most connections of a front door sleep.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::connection::{Ended, in_time};
use super::io::DownstreamIo;
use super::pipeline;
use super::turn::{Downstream, Turn};
use crate::worker::Worker;
use crate::worker::timer::ticks;

/// What comes after a while of being awake.
enum Next {
    Ended(Ended),
    Sleep(DownstreamIo),
}

/// Speaks HTTP/1.1 to the end of the connection.
pub(super) async fn speak(worker: &Rc<Worker>, downstream: &Rc<Downstream>, mut io: DownstreamIo) -> Ended {
    // A connection that is to end is told so once, and has a while for one more request.
    let told = Cell::new(false);
    let look = || {
        if !told.get()
            && let Some(within) = downstream.last_request_within(worker)
        {
            told.set(true);
            if downstream.clock.is_waiting() {
                downstream.clock.wait_for_head(within, false);
            }
        }
    };
    loop {
        // Boxed, so that a sleeping one is small.
        io = match Box::pin(awake(worker, downstream, io, &look)).await {
            Next::Ended(ended) => return ended,
            Next::Sleep(io) => io,
        };
        worker.metrics.fell_asleep.one();
        let woken = poll_fn(|cx| {
            look();
            io.poll_wake(cx)
        });
        let woken = in_time(&downstream.clock, woken).await;
        worker.metrics.woke_up.one();
        match woken {
            // The library sees the end, too, and says goodbye.
            Some(Ok(())) => downstream.clock.head_begins(ticks(downstream.limits().head_timeout)),
            Some(Err(error)) => return Ended::Lost(error),
            None => return Ended::TimedOut,
        }
    }
}

async fn awake(worker: &Rc<Worker>, downstream: &Rc<Downstream>, io: DownstreamIo, look: &impl Fn()) -> Next {
    let limits = downstream.limits();
    let service = service_fn(|request| {
        let (worker, turn) = (worker.clone(), Turn::whole(downstream.clone()));
        async move { Ok::<_, Infallible>(pipeline::handle(worker, turn, request).await) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(limits.header_bytes.max(8192))
        .max_headers(limits.header_count)
        .max_header_size(limits.header_bytes)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let clock = &downstream.clock;
    let tired = poll_fn(|cx| {
        look();
        match Pin::new(&mut connection).poll(cx) {
            Poll::Pending if clock.may_sleep() => Poll::Ready(None),
            polled @ (Poll::Pending | Poll::Ready(_)) => polled.map(Some),
        }
    });
    match in_time(clock, tired).await {
        Some(None) => clock.sleeps(),
        Some(Some(Ok(()))) => return Next::Ended(Ended::Well),
        Some(Some(Err(error))) => return Next::Ended(Ended::Refused(error)),
        None => return Next::Ended(Ended::TimedOut),
    }
    match connection.into_parts() {
        Some(parts) => {
            let mut io = parts.io.into_inner();
            // The beginning of a pipelined head may have come with the request before it.
            io.unread(parts.read_buf);
            Next::Sleep(io)
        }
        None => Next::Ended(Ended::Well),
    }
}
