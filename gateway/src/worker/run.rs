//! The thread of a worker: its runtime, its tasks, and its end.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::timer::{TICK, Wheel};
use super::{Drain, Settings, Told, Worker};
use crate::http::connection;
use crate::http::stream::Stream;
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
    /// What it is told while it runs; without a listener it only serves what others hand over.
    pub told: mpsc::Receiver<Told>,
    /// Connections from other workers.
    pub inbox: mpsc::Receiver<Accepted>,
    /// All workers, itself included.
    pub doors: Arc<[Door]>,
    /// Where the table comes from.
    pub published: Arc<Published>,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Common to all; the first ones.
    pub settings: Settings,
    /// Says when the process drains.
    pub stop: watch::Receiver<Option<Drain>>,
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
    let WorkerParts { index, mut told, mut inbox, doors, published, metrics, settings, mut stop } = parts;
    let Some(door) = doors.get(index) else { return };
    let worker = Rc::new(Worker {
        index,
        tables: CachedTable::new(published, index),
        pool: Rc::default(),
        wheel: Wheel::new(),
        metrics,
        log: LogBuffer::new(settings.log.clone()),
        settings: RefCell::new(Rc::new(settings)),
        load: door.load.clone(),
        random: RefCell::new(fastrand::Rng::new()),
        draining: Cell::new(None),
    });
    tokio::task::spawn_local(tick(worker.clone()));
    let mut acceptors = JoinSet::new();
    let drain = loop {
        tokio::select! {
            accepted = inbox.recv() => match accepted {
                Some(accepted) => begin(&worker, accepted),
                None => break Drain::Stop,
            },
            Some(told) = told.recv() => match told {
                Told::Listen(listener, entrance) => {
                    let serving = worker.clone();
                    let serve = move |accepted| begin(&serving, accepted);
                    acceptors.spawn_local(accept(worker.clone(), listener, doors.clone(), entrance, serve));
                }
                Told::Settings(settings, taken) => {
                    worker.set_settings(*settings);
                    // Who told may have given up waiting.
                    let _ = taken.send(());
                }
                Told::Look => worker.wheel.wake_all(),
            },
            // One that panicked has nothing left to empty.
            Some(_) = acceptors.join_next() => {}
            drain = stop.wait_for(Option::is_some) => break drain.ok().and_then(|drain| *drain).unwrap_or(Drain::Stop),
        }
    };
    // Who is connected hears of it first: at the limit on connections nobody else gets in before some of them end.
    worker.draining.set(Some(drain));
    worker.wheel.drain();
    while acceptors.join_next().await.is_some() {}
    // Other workers may still have handed something over before they stopped.
    while worker.connections() > 0 {
        tokio::select! {
            Some(accepted) = inbox.recv() => begin(&worker, accepted),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
    worker.metrics.log_lines_dropped.add(worker.log.flush());
}

/// Registers the connection with this worker's runtime and serves it.
fn begin(worker: &Rc<Worker>, Accepted { stream, peer, entrance }: Accepted) {
    match Stream::of(stream) {
        Ok(stream) => {
            tokio::task::spawn_local(connection::serve(worker.clone(), stream, peer, entrance));
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
        // An idle worker lets go of old tables too, and discovery waits to see it.
        drop(worker.tables.current());
        if worker.wheel.now().is_multiple_of(CHORE_TICKS) {
            worker.pool.sweep(worker.wheel.now());
            worker.pool.flush_counts();
            worker.metrics.log_lines_dropped.add(worker.log.flush());
        }
    }
}
