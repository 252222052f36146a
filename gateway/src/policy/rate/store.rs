//! Limits that all gateways share, in Redis.
//!
//! Every gateway judges by what it knows, at once, and tells Redis what it admitted; Redis adds up what all of them did and
//! says in the same breath where each counter stands (`settle.lua`). So no request ever waits for Redis, whatever becomes of
//! it, and every error is paid back: what was admitted too much is in the counter. Why this and not a question per request:
//! `docs/decisions/0011-shared-rate-limits.md`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use vertice_config::redis_address::StoreAddress;

use super::limiter::{Limiter, StoreDoor};

/// Small enough to be sent each time: no version of it can be missing in a Redis that was restarted.
const SETTLE: &str = include_str!("settle.lua");
/// Between the beginnings of two talks: what gateways do not know of each other is two milliseconds of requests, and a gateway
/// talks at most 500 times a second, however many requests there are.
const PACE: Duration = Duration::from_millis(2);
/// Counters in one talk; Redis does nothing else for about a microsecond each.
const NAMES: usize = 256;
/// Who is silent for longer counts as away. Nobody waits for it but this task.
const DEADLINE: Duration = Duration::from_millis(250);
/// Between two looks whether Redis is back.
const PROBE: Duration = Duration::from_millis(500);

/// The way to the store, and what is known of it.
#[derive(Debug)]
pub struct RateStore {
    /// Where it is.
    pub address: StoreAddress,
    door: StoreDoor,
    limiters: watch::Sender<Vec<Arc<Limiter>>>,
}

/// What is shown of the store.
#[derive(Debug, Default)]
pub struct StoreStats {
    reachable: AtomicBool,
    talks: AtomicU64,
    failures: AtomicU64,
    round_trip_us: AtomicU64,
    /// Names in the talk that is under way.
    talked_of: AtomicUsize,
    error: Mutex<String>,
}

impl StoreStats {
    /// Whether Redis answered the last time.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Talks that succeeded.
    pub fn talks(&self) -> u64 {
        self.talks.load(Ordering::Relaxed)
    }

    /// Talks and connections that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How long the last talk took.
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_us.load(Ordering::Relaxed))
    }

    /// Names in the talk that is under way.
    pub fn talked_of(&self) -> usize {
        self.talked_of.load(Ordering::Acquire)
    }

    fn went_well(&self, took: Duration) {
        self.talks.fetch_add(1, Ordering::Relaxed);
        self.round_trip_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn change(&self, reachable: bool, why: &str) {
        if !reachable {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.reachable.swap(reachable, Ordering::Relaxed) != reachable;
        match (reachable, changed || *error != why) {
            (true, true) => {
                tracing::info!("the store of rate limits is there: shared limits are counted together");
            }
            (false, true) => {
                tracing::warn!(
                    why,
                    "the store of rate limits is away: each gateway counts shared limits alone"
                );
            }
            (_, false) => {}
        }
        why.clone_into(&mut error);
    }
}

impl RateStore {
    /// Begins to talk to the Redis at `address`, on a thread of its own: a table that takes long to compile must not make
    /// limits wrong. It ends when this is dropped.
    pub fn start(address: StoreAddress) -> Self {
        let (limiters, watched) = watch::channel(Vec::new());
        let door = StoreDoor { bell: Arc::default(), stats: Arc::default() };
        let talker = Talker {
            address: address.clone(),
            bell: door.bell.clone(),
            stats: door.stats.clone(),
            limiters: watched,
            next: 0,
        };
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(talker.run()),
            Err(error) => {
                tracing::error!(%error, "no runtime for the store of rate limits: they are not shared");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("rate-limits".into()).spawn(run) {
            tracing::error!(%error, "no thread for the store of rate limits: they are not shared");
        }
        Self { address, door, limiters }
    }

    /// The store as limits see it.
    pub fn door(&self) -> &StoreDoor {
        &self.door
    }

    /// Which limits it hears.
    pub fn hear(&self, limiters: Vec<Arc<Limiter>>) {
        self.limiters.send_replace(limiters);
    }
}

/// Talks to Redis.
struct Talker {
    address: StoreAddress,
    bell: Arc<Notify>,
    stats: Arc<StoreStats>,
    limiters: watch::Receiver<Vec<Arc<Limiter>>>,
    /// Which limit comes first in the next talk.
    next: usize,
}

/// What one talk is about.
#[derive(Debug)]
struct Told {
    limiter: Arc<Limiter>,
    name: Box<[u8]>,
    requests: i64,
}

impl Talker {
    async fn run(mut self) {
        while !self.is_over() {
            let opened = vertice_registry::redis::connect_to_master(&self.address, DEADLINE).await;
            let why = match opened {
                Ok(connection) => self.talk(connection).await,
                Err(why) => why,
            };
            if !self.is_over() {
                self.stats.change(false, &why);
                sleep(PROBE).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.limiters.has_changed().is_err()
    }

    /// Talks until it fails; why it did.
    async fn talk(&mut self, mut connection: MultiplexedConnection) -> String {
        loop {
            if self.is_over() {
                return String::new();
            }
            let began = Instant::now();
            // Before anything is taken off a list: whoever looks sees it in one of the two places.
            self.stats.talked_of.store(1, Ordering::Release);
            let told = self.gather();
            self.stats.talked_of.store(told.len(), Ordering::Release);
            // Nothing to tell: a connection that was lost is found out all the same.
            let settled = self.settle(&mut connection, &told, began).await;
            self.stats.talked_of.store(0, Ordering::Release);
            if let Err(why) = settled {
                take_back(&told, Instant::now());
                return why;
            }
            self.stats.change(true, "");
            self.stats.went_well(began.elapsed());
            sleep_until(began + PACE).await;
            if self.limiters.borrow().iter().all(|limiter| limiter.waiting() == 0) {
                tokio::select! {
                    () = self.bell.notified() => {}
                    () = sleep(PROBE) => {}
                    changed = self.limiters.changed() => if changed.is_err() {
                        return String::new();
                    },
                }
            }
        }
    }

    /// What is to be told, of every limit in turn.
    fn gather(&mut self) -> Vec<Told> {
        let limiters = self.limiters.borrow().clone();
        self.next = self.next.wrapping_add(1);
        let begin = self.next.checked_rem(limiters.len()).unwrap_or_default();
        let mut told = Vec::new();
        for limiter in limiters.iter().cycle().skip(begin).take(limiters.len()) {
            for name in limiter.collect(NAMES.saturating_sub(told.len())) {
                let requests = limiter.buckets.tell(&name);
                if requests != 0 {
                    told.push(Told { limiter: limiter.clone(), name, requests });
                }
            }
        }
        told
    }

    async fn settle(
        &self,
        connection: &mut MultiplexedConnection,
        told: &[Told],
        began: Instant,
    ) -> Result<(), String> {
        let mut call = redis::cmd("EVAL");
        call.arg(SETTLE).arg(told.len());
        for Told { limiter, name, .. } in told {
            call.arg([b"vertice:rate:", limiter.config.name.as_bytes(), b":", name].concat());
        }
        for Told { limiter, requests, .. } in told {
            let nanoseconds = limiter.buckets.rate().interval();
            call.arg(format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)).arg(*requests);
        }
        let answer = timeout(DEADLINE, call.query_async::<Vec<u64>>(connection)).await;
        let ahead = answer
            .map_err(|_| format!("no answer within {} ms", DEADLINE.as_millis()))?
            .map_err(|error| error.to_string())?;
        for (Told { limiter, name, .. }, ahead_us) in told.iter().zip(ahead) {
            limiter.buckets.settle(name, ahead_us.saturating_mul(1000), limiter.time(began));
        }
        Ok(())
    }
}

/// Nobody heard it: what time has not forgiven until then is told the next time.
fn take_back(told: &[Told], now: Instant) {
    for Told { limiter, name, requests } in told {
        if limiter.buckets.untell(name, *requests, limiter.time(now)) {
            limiter.post(name);
        }
    }
}
