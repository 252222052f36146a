//! Taking connections and giving each to the less busy of two workers.
//!
//! SO_REUSEPORT spreads connections by a hash: with few connections some workers get most of them. A connection is
//! handed over once, before it is registered anywhere; a request costs nothing for it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use crate::worker::Worker;

/// Connections on their way to another worker; when it is that far behind, the accepting worker keeps them.
pub const INBOX: usize = 1024;

/// Connections taken in one go before others get their turn: a burst must not starve requests.
const BURST: usize = 64;

/// A connection on its way to its worker, counted in that worker's load already.
pub type Accepted = (TcpStream, SocketAddr);

/// How to reach one worker.
#[derive(Clone, Debug)]
pub struct Door {
    /// Takes connections in.
    pub inbox: mpsc::Sender<Accepted>,
    /// Its open connections.
    pub load: Arc<AtomicUsize>,
}

/// Accepts on `listener` until `stop`, then empties the kernel's queue (who is in there was told that it is connected).
///
/// `serve` takes a connection that stays with this worker.
pub async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    doors: Arc<[Door]>,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, SocketAddr),
) {
    #[allow(
        deprecated,
        reason = "its successor is unsafe; what it guards against, a descriptor that changes, a TcpListener rules out"
    )]
    let listener = match AsyncFd::with_interest(listener, Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listening socket cannot be watched; this worker takes no connections from it");
            return;
        }
    };
    let limit = worker.settings.limits.connections / doors.len().max(1);
    loop {
        while worker.connections() >= limit.max(1) {
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
            match take(listener.get_ref()) {
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
    while let Ok(accepted) = take(listener.get_ref()) {
        hand_out(&worker, &doors, accepted, &serve);
    }
}

fn take(listener: &TcpListener) -> io::Result<Accepted> {
    let (socket, peer) =
        rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // A connection that was reset while it waited may have no peer any more.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((TcpStream::from(socket), peer))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn hand_out(
    worker: &Worker,
    doors: &[Door],
    (stream, peer): Accepted,
    serve: &impl Fn(TcpStream, SocketAddr),
) {
    worker.metrics.accepted.one();
    let own = worker.connections();
    let other = other_worker(worker, doors.len()).and_then(|index| doors.get(index));
    let mut stream = stream;
    if let Some(door) = other
        && door.load.load(Ordering::Relaxed) < own
    {
        door.load.fetch_add(1, Ordering::Relaxed);
        match door.inbox.try_send((stream, peer)) {
            Ok(()) => {
                worker.metrics.handed_over.one();
                return;
            }
            Err(TrySendError::Full((back, _)) | TrySendError::Closed((back, _))) => {
                door.load.fetch_sub(1, Ordering::Relaxed);
                stream = back;
            }
        }
    }
    worker.load.fetch_add(1, Ordering::Relaxed);
    serve(stream, peer);
}

/// Any worker but this one.
fn other_worker(worker: &Worker, workers: usize) -> Option<usize> {
    let others = workers.checked_sub(1).filter(|others| *others > 0)?;
    let step = 1 + worker.random.borrow_mut().usize(..others);
    Some((worker.index + step) % workers)
}
