//! A worker: one thread, one `LocalRuntime`, its own listeners, connections, pool, timers and counters.
//!
//! Nothing that a request touches is shared between workers but the table, which nobody writes to.

pub mod timer;
pub mod run;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vertice_config::gateway::LimitsConfig;

use crate::health::{Reporter, Testimony};
use crate::table::{CachedTable, Endpoint};
use crate::telemetry::access_log::LogBuffer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{AddressPolicy, Pool};
use timer::{Tick, Wheel};

/// What all workers of a process are told at their start.
#[derive(Debug)]
pub struct Settings {
    /// Limits of the client side.
    pub limits: LimitsConfig,
    /// Ticks for a head.
    pub head: Tick,
    /// Ticks between two requests of a connection.
    pub keep_alive: Tick,
    /// Peers that are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether `x-vertice-reason` is sent.
    pub reason_header: bool,
    /// Our signature in requests that we pass on: protocol and a name that no other process has.
    pub via: http::HeaderValue,
    /// Where connections may not go.
    pub policy: AddressPolicy,
    /// Where is told what endpoints do.
    pub health: Reporter,
}

/// One worker, as its connections see it.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// The newest table.
    pub tables: CachedTable,
    /// Connections to endpoints.
    pub pool: Rc<Pool>,
    /// Deadlines.
    pub wheel: Wheel,
    /// Counters.
    pub metrics: Arc<WorkerMetrics>,
    /// Where log lines go; `None`: the access log is off.
    pub log: Option<LogBuffer>,
    /// Told at the start.
    pub settings: Arc<Settings>,
    /// Open client connections, read by the other workers when they hand one over.
    pub load: Arc<AtomicUsize>,
    /// Randomness for choices and ids.
    pub random: RefCell<fastrand::Rng>,
    /// Whether connections end after their current request.
    pub draining: Cell<bool>,
}

impl Worker {
    /// Takes in what an attempt says about its endpoint.
    pub fn attempted(&self, endpoint: &Endpoint, testimony: Option<Testimony>) {
        if let Some(testimony) = testimony {
            self.pool.count(endpoint, testimony != Testimony::Answered);
            self.settings.health.tell(endpoint, testimony);
        }
    }

    /// How many client connections are open.
    pub fn connections(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}
