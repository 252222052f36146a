//! The thread of a worker: its runtime, its tasks, and its end.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

use super::timer::{TICK, Wheel};
use super::{Settings, Worker};
use crate::http::connection;
use crate::listener::accept::{Accepted, Door, accept};
use crate::table::{CachedTable, Published};
use crate::telemetry::access_log::LogBuffer;
use crate::telemetry::metrics::WorkerMetrics;

/// Ticks between two sweeps of idle upstream connections and flushes of counts and of the log: half a second.
const CHORE_TICKS: u64 = 10;

/// What one worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// Its number, from 0.
    pub index: usize,
    /// Its socket of each listener.
    pub listeners: Vec<TcpListener>,
    /// Connections from other workers.
    pub inbox: mpsc::Receiver<Accepted>,
    /// All workers, itself included.
    pub doors: Arc<[Door]>,
    /// Where the table comes from.
    pub published: Arc<Published>,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Where log blocks go.
    pub log: Option<SyncSender<Vec<u8>>>,
    /// Common to all.
    pub settings: Arc<Settings>,
    /// Turns true when the process drains.
    pub stop: watch::Receiver<bool>,
}

/// Starts the thread. It ends when the process drains and its last connection is through.
pub fn start(parts: WorkerParts) -> io::Result<JoinHandle<()>> {
    let runtime =
        || Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
    std::thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || match runtime() {
        Ok(runtime) => runtime.block_on(run(parts)),
        Err(error) => tracing::error!(%error, "a worker's runtime cannot be started"),
    })
}

async fn run(parts: WorkerParts) {
    let WorkerParts { index, listeners, mut inbox, doors, published, metrics, log, settings, mut stop } =
        parts;
    let Some(door) = doors.get(index) else { return };
    let worker = Rc::new(Worker {
        index,
        tables: CachedTable::new(published),
        pool: Rc::default(),
        wheel: Wheel::new(),
        metrics,
        log: log.map(LogBuffer::new),
        settings,
        load: door.load.clone(),
        random: RefCell::new(fastrand::Rng::new()),
        draining: Cell::new(false),
    });
    tokio::task::spawn_local(tick(worker.clone()));
    let mut acceptors = Vec::new();
    for listener in listeners {
        let (doors, stop, serving) = (doors.clone(), stop.clone(), worker.clone());
        let serve = move |stream: TcpStream, peer| begin(&serving, stream, peer);
        acceptors.push(tokio::task::spawn_local(accept(worker.clone(), listener, doors, stop, serve)));
    }
    loop {
        tokio::select! {
            accepted = inbox.recv() => match accepted {
                Some((stream, peer)) => begin(&worker, stream, peer),
                None => break,
            },
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // Who is connected hears of it first: at the limit on connections nobody else gets in before some of them end.
    worker.draining.set(true);
    worker.wheel.drain();
    for acceptor in acceptors {
        // An acceptor that panicked has nothing left to empty.
        let _ = acceptor.await;
    }
    // Other workers may still have handed something over before they stopped.
    while worker.connections() > 0 {
        tokio::select! {
            Some((stream, peer)) = inbox.recv() => begin(&worker, stream, peer),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
    if let Some(log) = &worker.log {
        worker.metrics.log_lines_dropped.add(log.flush());
    }
}

/// Registers the connection with this worker's runtime and serves it.
fn begin(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => {
            tokio::task::spawn_local(connection::serve(worker.clone(), stream, peer));
        }
        Err(error) => {
            worker.load.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            tracing::warn!(%error, %peer, "a connection could not be registered and was closed");
        }
    }
}

/// Time passes: deadlines, and the chores that no request should wait for.
async fn tick(worker: Rc<Worker>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        worker.wheel.advance();
        // An idle worker lets go of old tables too.
        drop(worker.tables.current());
        if worker.wheel.now().is_multiple_of(CHORE_TICKS) {
            worker.pool.sweep(worker.wheel.now());
            worker.pool.flush_counts();
            if let Some(log) = &worker.log {
                worker.metrics.log_lines_dropped.add(log.flush());
            }
        }
    }
}
