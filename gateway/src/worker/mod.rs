//! A worker: one thread, one `LocalRuntime`, its own listeners, connections, pool, timers and counters.
//!
//! Nothing that a request touches is shared between workers but the table, which nobody writes to.

pub mod timer;
pub mod pace;
pub mod run;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::health::{Reporter, Testimony};
use crate::listener::entrance::Entrance;
use crate::listener::socket::ListenSocket;
use crate::policy::Guard;
use crate::reload::state::ConfigState;
use crate::route::EditList;
use crate::table::{CachedTable, Endpoint};
use crate::telemetry::access_log::LogBuffer;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::{AddressPolicy, Pool};
use timer::{Tick, Wheel, ticks};

/// What all workers of a process are told at their start, and again with each reload of the configuration. A request uses
/// one of these from its start to its end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Client connections of the whole process. What holds at one listener is its [`Entrance`]'s to say.
    pub connections: usize,
    /// Peers that are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Whether `x-vertice-reason` is sent.
    pub reason_header: bool,
    /// What is changed in answers of no route.
    pub response_edits: EditList,
    /// What no client may say, because services believe it of us; `None`: nothing.
    pub guard: Option<Arc<Guard>>,
    /// Our signature in requests that we pass on: protocol and a name that no other process has.
    pub via: http::HeaderValue,
    /// Where connections may not go.
    pub policy: AddressPolicy,
    /// Where is told what endpoints do.
    pub health: Reporter,
    /// Where blocks of the access log go; `None`: it is off.
    pub log: Option<SyncSender<Vec<u8>>>,
    /// Which configuration runs, for who asks.
    pub config: Arc<ConfigState>,
}

/// What a worker is told while it runs.
#[derive(Debug)]
pub enum Told {
    /// Accept here.
    Listen(ListenSocket, Arc<Entrance>),
    /// From the next request on, this holds.
    Settings(Box<Settings>, oneshot::Sender<()>),
    /// A listener was closed: its connections should look.
    Look,
}

/// How a process drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It was asked to stop.
    Stop,
    /// Another process has taken over.
    HandedOver,
}

impl Drain {
    /// How long an idle connection is kept for one more request, which is told to be the last. A client that sends just
    /// when its connection is closed gets no answer; who sends nothing for this long is about to send nothing.
    fn linger(self) -> Tick {
        match self {
            // Who stops us has told the clients' side before, or does not care; somebody waits for the end.
            Self::Stop => ticks(Duration::from_secs(1)),
            Self::HandedOver => LINGER,
        }
    }
}

/// For connections of a listener that was taken out, of a process that has a successor, and that have had their time: nobody
/// waits for their end.
pub const LINGER: Tick = 200;

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
    /// Log lines that are not handed over yet.
    pub log: LogBuffer,
    /// What holds for the next request.
    settings: RefCell<Rc<Settings>>,
    /// Open client connections, read by the other workers when they hand one over.
    pub load: Arc<AtomicUsize>,
    /// Randomness for choices and ids.
    pub random: RefCell<fastrand::Rng>,
    /// Whether, and how, connections end after their next answer.
    pub draining: Cell<Option<Drain>>,
}

impl Worker {
    /// Takes in what an attempt says about its endpoint.
    pub fn attempted(&self, endpoint: &Endpoint, testimony: Option<Testimony>) {
        if let Some(testimony) = testimony {
            self.pool.count(endpoint, testimony != Testimony::Answered);
            self.settings.borrow().health.tell(endpoint, testimony);
        }
    }

    /// What holds now; taken once per connection and once per request.
    pub fn settings(&self) -> Rc<Settings> {
        self.settings.borrow().clone()
    }

    /// From the next request on, `settings` hold.
    fn set_settings(&self, settings: Settings) {
        self.metrics.log_lines_dropped.add(self.log.switch(settings.log.clone()));
        *self.settings.borrow_mut() = Rc::new(settings);
    }

    /// Ticks that a connection from `entrance` has for its next request if it is to be the last one.
    pub fn last_request_within(&self, entrance: &Entrance) -> Option<Tick> {
        match self.draining.get() {
            Some(drain) => Some(drain.linger()),
            None => entrance.is_closing().then_some(LINGER),
        }
    }

    /// How many client connections are open.
    pub fn connections(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}
