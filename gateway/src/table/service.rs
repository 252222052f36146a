//! A name with its endpoints, and the counters that outlive tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use vertice_registry_api::ServiceName;

use super::endpoint::Endpoint;

/// A service in one table.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Every accepted endpoint, in the order of their ids, whatever its status.
    pub all: Vec<Arc<Endpoint>>,
    /// Those that take requests, in the same order.
    pub routable: Vec<Arc<Endpoint>>,
    /// Running sums of the weights of `routable`; empty when all weigh the same.
    pub weight_sums: Vec<u32>,
    /// Why what is known of it may be wrong by now; `None` while the registry vouches for all of it.
    pub doubt: Option<Doubt>,
    /// Counters, carried over from table to table.
    pub stats: Arc<ServiceStats>,
}

/// What is to be doubted about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// When the registry last vouched for the oldest part of it.
    pub last_proof: Instant,
    /// For longer than the operator gave it.
    pub stale: bool,
    /// And the operator wants no request to go there then.
    pub refused: bool,
}

impl Service {
    /// Seconds since the registry last vouched for the oldest part of it; `None` while it vouches for all of it.
    pub fn stale_seconds(&self) -> Option<f64> {
        self.doubt.map(|doubt| (doubt.last_proof.elapsed().as_secs_f64() * 1000.0).round() / 1000.0)
    }

    /// Whether requests are refused because nobody has vouched for it in too long.
    pub fn is_refused(&self) -> bool {
        self.doubt.is_some_and(|doubt| doubt.refused)
    }
}

/// Counters of one service: one row per worker, each written by that worker alone, summed by who reads.
#[derive(Debug)]
pub struct ServiceStats {
    workers: Box<[WorkerStats]>,
}

/// One worker's row, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerStats {
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    classes: [AtomicU64; 5],
    /// Time from the request's head to the answer's head, summed, in microseconds.
    head_us: AtomicU64,
    /// Attempts beyond the first.
    retries: AtomicU64,
}

/// The class of a status: its first digit, 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusClass(usize);

impl StatusClass {
    /// The class of `status`; what lies beyond 599 counts as 5.
    pub fn of(status: http::StatusCode) -> Self {
        Self(usize::from(status.as_u16() / 100).clamp(1, 5))
    }

    /// `1xx` to `5xx`.
    pub fn label(self) -> &'static str {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].get(self.0 - 1).copied().unwrap_or("5xx")
    }

    /// All five.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=5).map(Self)
    }
}

impl ServiceStats {
    /// Zeroes for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| WorkerStats::default()).collect() }
    }

    /// The row of `worker`.
    pub fn of(&self, worker: usize) -> Option<&WorkerStats> {
        self.workers.get(worker)
    }

    /// Answers of `class` by all workers.
    pub fn answers(&self, class: StatusClass) -> u64 {
        self.sum(|row| row.classes.get(class.0 - 1))
    }

    /// Seconds to the answers' heads, summed over all workers and answers.
    pub fn head_seconds(&self) -> f64 {
        std::time::Duration::from_micros(self.sum(|row| Some(&row.head_us))).as_secs_f64()
    }

    /// Attempts beyond the first of all workers.
    pub fn retries(&self) -> u64 {
        self.sum(|row| Some(&row.retries))
    }

    fn sum(&self, counter: impl Fn(&WorkerStats) -> Option<&AtomicU64>) -> u64 {
        self.workers.iter().filter_map(counter).map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

impl WorkerStats {
    /// Counts an answer.
    pub fn answered(&self, class: StatusClass, head_us: u64) {
        if let Some(counter) = self.classes.get(class.0 - 1) {
            add_count(counter, 1);
        }
        add_count(&self.head_us, head_us);
    }

    /// Counts an attempt beyond the first.
    pub fn retried(&self) {
        add_count(&self.retries, 1);
    }
}

/// Adds to a counter that only this thread writes: a load and a store, no locked instruction.
pub fn add_count(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
