//! Several replicas of the registry that share one Redis or Valkey. `docs/redis.md` tells the rules.
//!
//! Every replica keeps the whole state in the store in memory and follows a stream of changes; reads never ask Redis.
//! A write is decided here and done by one script that compares first. While Redis is away a replica goes on alone,
//! removes nothing, and says afterwards what happened.

mod wire;
mod scripts;
mod link;
mod drawn;
mod followed;
mod record;
mod mirror;
mod decide;
mod reconcile;
mod commit;
mod calls;
mod resync;
mod follow;
mod sweep;
mod upkeep;
pub mod literal;
mod legacy;
mod legacy_poll;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, RwLock};
use vertice_process::shutdown::Shutdown;
use vertice_process::tasks;
use vertice_registry_api::SourceState;

pub use link::connect_to_master;
pub use vertice_config::redis_address::{HostPort, StoreAddress, Whereabouts};
pub use wire::{Connection, Wire};

use crate::store::Store;
use followed::Followed;
use link::{Away, Link};
use mirror::Mirror;
use wire::Tcp;

/// The store in memory that a replica reads from: the registry's API holds it.
pub trait Memory: Send + Sync + 'static {
    /// Does `work` to the store under its lock, with the time, and tells the watchers what changed.
    fn with(&self, work: &mut dyn FnMut(&mut Store, Duration));
    /// The wall clock, in milliseconds.
    fn unix_ms(&self) -> u64;
}

/// What a replica on Redis runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where Redis is.
    pub address: StoreAddress,
    /// Read and write the original registry's keys as well.
    pub legacy: bool,
    /// After a failover, a restart or a standstill of Redis no lease runs out for this long.
    pub grace: Duration,
}

impl RedisSettings {
    /// The longest common lease with its grace: whoever lives has been heard again by then.
    pub const GRACE: Duration = Duration::from_secs(75);
}

/// One replica's side of the shared store. Cheap to clone.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

struct Inner {
    settings: RedisSettings,
    wire: Arc<dyn Wire>,
    /// Locked after the store where both are.
    mirror: Mutex<Mirror>,
    link: Mutex<Linked>,
    /// Somebody found Redis away.
    cut: Notify,
    /// Held for writing while memory and Redis are brought together, for reading during each write.
    gate: RwLock<()>,
    /// How far memory has followed.
    followed: Followed,
}

/// The way to Redis, if there is one, and what to do about it when the next one is there.
#[derive(Default)]
struct Linked {
    link: Option<(Arc<Link>, String)>,
    /// The next one begins with the whole hash, whatever the stream has.
    distrusted: bool,
}

impl RedisStore {
    /// A replica that has not met its Redis yet.
    pub fn new(settings: RedisSettings) -> Self {
        Self::over(Arc::new(Tcp), settings)
    }

    /// As [`Self::new`], with connections of `wire`.
    pub fn over(wire: Arc<dyn Wire>, settings: RedisSettings) -> Self {
        Self(Arc::new(Inner {
            settings,
            wire,
            mirror: Mutex::default(),
            link: Mutex::default(),
            cut: Notify::new(),
            gate: RwLock::new(()),
            followed: Followed::default(),
        }))
    }

    /// Follows and keeps up until `shutdown`.
    pub fn spawn(&self, memory: Arc<dyn Memory>, shutdown: &Shutdown) {
        for (name, duty) in self.duties(memory, shutdown) {
            tasks::spawn(name, duty);
        }
    }

    /// What a replica does beside answering, each until `shutdown`, with its name.
    pub fn duties(
        &self,
        memory: Arc<dyn Memory>,
        shutdown: &Shutdown,
    ) -> [(&'static str, BoxFuture<'static, ()>); 5] {
        with(&*memory, |store, _| store.follow_state(SourceState::Degraded));
        let (store, held, until) = (|| self.clone(), || memory.clone(), || shutdown.clone());
        [
            ("registry-redis-follow", follow::run(store(), held(), until()).boxed()),
            ("registry-redis-beats", upkeep::tell_beats(store(), held(), until()).boxed()),
            ("registry-redis-freshen", upkeep::freshen(store(), held(), until()).boxed()),
            ("registry-redis-time", upkeep::observe(held(), until()).boxed()),
            ("registry-redis-upkeep", upkeep::keep_up(store(), memory, until()).boxed()),
        ]
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.0.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn linked(&self) -> MutexGuard<'_, Linked> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to Redis and the epoch it was opened in.
    fn link(&self) -> Option<(Arc<Link>, String)> {
        self.linked().link.clone()
    }

    /// Redis is away, or not what it was: from now on this replica is alone. Told once.
    fn cut(&self, memory: &dyn Memory, link: &Arc<Link>, why: &Away) {
        {
            let mut linked = self.linked();
            if !linked.link.as_ref().is_some_and(|(held, _)| Arc::ptr_eq(held, link)) {
                return;
            }
            linked.link = None;
        }
        tracing::warn!(%why, "Redis is away: serving from memory, removing nothing");
        with(memory, |store, _| store.follow_state(SourceState::Degraded));
        self.0.cut.notify_one();
        // Who waits to see a change looks again.
        self.0.followed.look_again();
    }

    /// As [`Self::cut`], and what memory holds is not believed either.
    fn distrust(&self, memory: &dyn Memory, link: &Arc<Link>, why: &Away) {
        self.linked().distrusted = true;
        self.cut(memory, link, why);
    }
}

/// `work` with its result.
fn with<T>(memory: &dyn Memory, work: impl FnOnce(&mut Store, Duration) -> T) -> T {
    let mut work = Some(work);
    let mut result = None;
    memory.with(&mut |store, now| {
        if let Some(work) = work.take() {
            result = Some(work(store, now));
        }
    });
    // The trait's contract: `with` calls its argument.
    #[allow(
        clippy::expect_used,
        reason = "an implementation that does not call it is a defect that must not go on"
    )]
    result.expect("Memory::with calls its argument")
}
