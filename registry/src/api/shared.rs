//! What all calls share: the store behind its lock, and who is told when it changes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{ETAG, HeaderName, HeaderValue, IF_NONE_MATCH};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use vertice_process::answer::Answer;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::{Position, Revision, SourceState};

use crate::api::metrics::Metrics;
use crate::api::refused::Refused;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::policy::EndpointPolicy;
use crate::redis::RedisStore;
use crate::state::{Piece, Whole};
use crate::store::acks::Acks;
use crate::store::rejects::Rejects;
use crate::store::{Change, Stats, Store, TICK};

/// Answers that stream or wait at once: each holds a bounded buffer, this bounds their sum.
pub(super) const MAX_WATCHERS: usize = 10_000;
/// Slots and seconds of the wheel that one slice of expiry looks at, so that the lock is never held for long.
const SLICE: usize = 1_000;
/// Between two log lines about changes: a fleet that registers at once must not fill the log.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What watchers wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(super) revision: Revision,
    pub(super) state: SourceState,
}

/// One registry.
pub(crate) struct Shared {
    store: Mutex<Store>,
    /// Where writes go first; `None`: only into the store.
    pub(super) redis: Option<RedisStore>,
    /// Read and written under the store's lock.
    closed: AtomicBool,
    started: Instant,
    pub(crate) published: watch::Sender<Published>,
    pub(super) acks: Mutex<Acks>,
    pub(super) rejects: Mutex<Rejects>,
    /// How many rejects there are, to be looked at without the lock.
    pub(super) rejects_kept: AtomicUsize,
    pub(super) acked: watch::Sender<()>,
    pub(super) watchers: Arc<Semaphore>,
    pub(super) auth: Auth,
    pub(super) audit: Audit,
    pub(super) policy: EndpointPolicy,
    pub(crate) metrics: Metrics,
    pub(super) shutdown: Shutdown,
}

impl Shared {
    /// `store` has observed the time zero.
    pub(crate) fn new(
        auth: Auth,
        policy: EndpointPolicy,
        store: Store,
        audit: Audit,
        shutdown: Shutdown,
    ) -> Self {
        let started = Instant::now();
        let published = Published { revision: store.position().revision, state: store.state() };
        Self {
            store: Mutex::new(store),
            redis: None,
            closed: AtomicBool::new(false),
            started,
            published: watch::Sender::new(published),
            acks: Mutex::default(),
            rejects: Mutex::default(),
            rejects_kept: AtomicUsize::new(0),
            acked: watch::Sender::new(()),
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            auth,
            audit,
            policy,
            metrics: Metrics::new(),
            shutdown,
        }
    }

    /// Shared with others through `redis`.
    pub(crate) fn on(self, redis: Option<RedisStore>) -> Self {
        Self { redis, ..self }
    }

    /// Monotonic time of this registry.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The store, for what makes no revision. A panic elsewhere must not stop the registry: no write leaves it half done.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `write` to the store and tells the watchers. Refused once the end has been written to the disk.
    pub(super) fn write<T>(&self, write: impl FnOnce(&mut Store, Duration) -> T) -> Result<T, Refused> {
        let store = self.store();
        if self.closed.load(Ordering::Relaxed) {
            return Err(Refused::Stopping);
        }
        Ok(self.publish(store, write))
    }

    /// Does `write` to the locked store and tells the watchers.
    pub(super) fn publish<T>(
        &self,
        mut store: MutexGuard<'_, Store>,
        write: impl FnOnce(&mut Store, Duration) -> T,
    ) -> T {
        let result = write(&mut store, self.now());
        let now = Published { revision: store.position().revision, state: store.state() };
        // Under the lock, so that what is published never goes back.
        self.published.send_if_modified(|published| {
            let modified = *published != now;
            *published = now;
            modified
        });
        drop(store);
        result
    }

    /// Where in history the registry is, and what it says of itself.
    pub(crate) fn at(&self) -> (Position, SourceState) {
        let store = self.store();
        (store.position(), store.state())
    }

    /// Lets leases run out until `shutdown`.
    pub(crate) async fn tick(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shutdown = self.shutdown.clone();
        let (mut told, mut next_told) = (*self.published.borrow(), Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.pulled() => return,
            }
            if Instant::now() >= next_told {
                next_told = Instant::now() + TOLD_EVERY;
                told = self.tell(told);
            }
            // On Redis only its sweep removes.
            while self.redis.is_none()
                && self.write(|store, now| store.advance(now, SLICE)).is_ok_and(|advanced| advanced.more)
            {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// For the state directory.
impl Shared {
    /// What came after `written`, about `max_bytes` of it at most; `None` when the log does not reach back.
    pub(crate) fn piece_after(&self, written: Revision, max_bytes: usize) -> Option<Piece> {
        piece(&self.store(), written, max_bytes)
    }

    /// All that came after `written`, and everything there is at the end of it.
    pub(crate) fn piece_and_whole(&self, written: Revision) -> (Option<Piece>, Whole) {
        let store = self.store();
        let (position, next_generation) = (store.position(), store.next_generation());
        let whole = Whole { position, next_generation, rows: store.rows_with_handles() };
        (piece(&store, written, usize::MAX), whole)
    }

    /// From now on nothing changes any more.
    pub(crate) fn close(&self) {
        let _store = self.store();
        self.closed.store(true, Ordering::Relaxed);
    }

    /// After [`Shared::close`]: the last revision, and the generation that would come next.
    pub(crate) fn final_revision(&self) -> (Revision, u64) {
        let store = self.store();
        (store.position().revision, store.next_generation())
    }
}

fn piece(store: &Store, written: Revision, max_bytes: usize) -> Option<Piece> {
    let from = Position { revision: written, ..store.position() };
    let delta = store.since(from, max_bytes)?;
    let handle = |change: &Change| match change {
        Change::Upsert(instance) => store.handle(instance.service.as_str(), instance.instance_id.as_str()),
        Change::Remove { .. } => None,
    };
    let handles = delta.changes.iter().map(handle).collect();
    Some(Piece { delta, handles })
}

impl Shared {
    /// Logs that something changed since `told`.
    fn tell(&self, told: Published) -> Published {
        let now = *self.published.borrow();
        if now != told {
            let Stats { instances, services, expired_total, stale, quarantined } = self.store().stats();
            let (revision, state) = (now.revision, now.state);
            if state == SourceState::Preserving && told.state != state {
                tracing::warn!(
                    "self-preservation: too much expired at once, nothing more is removed for expiry"
                );
            } else if told.state == SourceState::Preserving && told.state != state {
                tracing::warn!("self-preservation is over");
            }
            tracing::info!(%revision, %state, services, instances, expired_total, stale, quarantined, "registrations changed");
        }
        now
    }
}

/// The position as an entity tag.
pub(super) fn entity_tag(position: Position) -> String {
    format!("\"{position}\"")
}

/// Whether the client has the content of `position` already.
pub(super) fn has<B>(request: &http::Request<B>, position: Position) -> bool {
    let tag = entity_tag(position);
    let named = request.headers().get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = named.flat_map(|list| list.split(','));
    tags.any(|one| one.trim() == "*" || one.trim().trim_start_matches("W/") == tag)
}

/// `answer` with where in history it was made; with an entity tag if it is a representation.
pub(super) fn stamped(mut answer: Answer, position: Position, state: SourceState, tagged: bool) -> Answer {
    let headers = answer.headers_mut();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(HeaderName::from_static("x-registry-epoch"), position.epoch.to_string());
    set(HeaderName::from_static("x-registry-revision"), position.revision.to_string());
    set(HeaderName::from_static("x-registry-state"), state.to_string());
    if tagged {
        set(ETAG, entity_tag(position));
    }
    answer
}
