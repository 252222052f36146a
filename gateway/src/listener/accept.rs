//! Taking connections and giving each to the less busy of two workers.
//!
//! SO_REUSEPORT spreads connections by a hash: with few connections some workers get most of them. A connection is
//! handed over once, before it is registered anywhere; a request costs nothing for it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::entrance::Entrance;
use super::socket::{ClientSocket, ListenSocket};
use crate::worker::Worker;

/// Connections on their way to another worker; when it is that far behind, the accepting worker keeps them.
pub const INBOX: usize = 1024;

/// Connections taken in one go before others get their turn: a burst must not starve requests.
const BURST: usize = 16;

/// A connection on its way to its worker, counted in that worker's load already.
#[derive(Debug)]
pub struct Accepted {
    /// Not registered with any runtime yet.
    pub stream: ClientSocket,
    /// Who it is.
    pub peer: SocketAddr,
    /// Where it came in.
    pub entrance: Arc<Entrance>,
}

/// How to reach one worker.
#[derive(Clone, Debug)]
pub struct Door {
    /// Takes connections in.
    pub inbox: mpsc::Sender<Accepted>,
    /// Its open connections.
    pub load: Arc<AtomicUsize>,
}

/// Accepts on `listener` until `entrance` is closed, then empties the kernel's queue (who is in there was told that it is connected).
///
/// `serve` takes a connection that stays with this worker.
pub async fn accept(
    worker: Rc<Worker>,
    listener: ListenSocket,
    doors: Arc<[Door]>,
    entrance: Arc<Entrance>,
    serve: impl Fn(Accepted),
) {
    let mut stop = entrance.stopped();
    #[allow(
        deprecated,
        reason = "its successor is unsafe; what it guards against, a descriptor that changes, an owned socket rules out"
    )]
    let listener = match AsyncFd::with_interest(listener, Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listening socket cannot be watched; this worker takes no connections from it");
            return;
        }
    };
    loop {
        while worker.connections() >= (worker.settings().connections / doors.len().max(1)).max(1) {
            // Full: who waits is in the kernel's queue. A connection that ends is noticed within the pause.
            if *stop.borrow() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut ready = tokio::select! {
            ready = listener.readable() => match ready {
                Ok(ready) => ready,
                Err(_) => return,
            },
            _ = stop.wait_for(|stop| *stop) => break,
        };
        for _ in 0..BURST {
            match take(listener.get_ref(), &entrance) {
                Ok(accepted) => hand_out(&worker, &doors, accepted, &serve),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    break;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "accept failed, trying again in 50 ms; out of file descriptors?");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    break;
                }
            }
        }
        drop(ready);
        tokio::task::yield_now().await;
    }
    while let Ok(accepted) = take(listener.get_ref(), &entrance) {
        hand_out(&worker, &doors, accepted, &serve);
    }
}

fn take(listener: &ListenSocket, entrance: &Arc<Entrance>) -> io::Result<Accepted> {
    let (stream, peer) = listener.accept()?;
    Ok(Accepted { stream, peer, entrance: entrance.clone() })
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn hand_out(worker: &Worker, doors: &[Door], mut accepted: Accepted, serve: &impl Fn(Accepted)) {
    worker.metrics.accepted.one();
    let own = worker.connections();
    let other = other_worker(worker, doors.len()).and_then(|index| doors.get(index));
    if let Some(door) = other
        && door.load.load(Ordering::Relaxed) < own
    {
        door.load.fetch_add(1, Ordering::Relaxed);
        match door.inbox.try_send(accepted) {
            Ok(()) => {
                worker.metrics.handed_over.one();
                return;
            }
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => {
                door.load.fetch_sub(1, Ordering::Relaxed);
                accepted = back;
            }
        }
    }
    worker.load.fetch_add(1, Ordering::Relaxed);
    serve(accepted);
}

/// Any worker but this one.
fn other_worker(worker: &Worker, workers: usize) -> Option<usize> {
    let others = workers.checked_sub(1).filter(|others| *others > 0)?;
    let step = 1 + worker.random.borrow_mut().usize(..others);
    Some((worker.index + step) % workers)
}
