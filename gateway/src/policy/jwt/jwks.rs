//! The keys that an issuer publishes: read by a task, looked at by requests. No request ever waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;
use vertice_config::gateway::policy::{JwtAlgorithm, JwtConfig, JwtKeys};

use super::keys::KeySet;

/// Bytes of a key set; 64 keys have less.
pub const BYTES: usize = 256 * 1024;

/// Between two readings that tokens with unknown keys ask for: who makes such tokens up must not send us to the issuer.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Between two tries while nothing can be read.
const TRIED_AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// The published keys of one issuer.
#[derive(Debug)]
pub struct Jwks {
    /// Whose.
    pub name: String,
    /// Where they are.
    pub source: JwtKeys,
    algorithms: Vec<JwtAlgorithm>,
    refresh: Duration,
    max_stale: Duration,
    last: ArcSwapOption<LastGood>,
    wanted: Notify,
    /// Readings that failed.
    failures: AtomicU64,
    failing: AtomicBool,
}

/// What was read last and could be used.
#[derive(Debug)]
struct LastGood {
    keys: Arc<KeySet>,
    read: Instant,
}

impl Jwks {
    /// Of `config`, not read yet; `None`: it has a secret.
    pub fn of(config: &JwtConfig) -> Option<Self> {
        let source = match &config.keys {
            JwtKeys::Secret(_) => return None,
            published @ (JwtKeys::File(_) | JwtKeys::Url(_)) => published.clone(),
        };
        Some(Self {
            name: config.name.clone(),
            source,
            algorithms: config.algorithms.clone(),
            refresh: config.refresh,
            max_stale: config.max_stale,
            last: ArcSwapOption::empty(),
            wanted: Notify::new(),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        })
    }

    /// Whether it would be the same under `config`.
    pub fn is(&self, config: &JwtConfig) -> bool {
        self.name == config.name
            && self.source == config.keys
            && self.algorithms == config.algorithms
            && self.refresh == config.refresh
            && self.max_stale == config.max_stale
    }

    /// The keys; `None`: there are none yet, or they are too old to be believed.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        let last = self.last.load();
        last.as_ref().filter(|last| last.read.elapsed() <= self.max_stale).map(|last| last.keys.clone())
    }

    /// A token names a key that is not there: maybe there is a new one.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Takes in what was read; how many keys it has, or what is wrong with it.
    pub fn take(&self, text: &[u8]) -> Result<usize, String> {
        let keys = KeySet::of_jwks(text, &self.algorithms).inspect_err(|_| self.failed())?;
        let count = keys.len();
        self.last.store(Some(Arc::new(LastGood { keys: Arc::new(keys), read: Instant::now() })));
        self.failing.store(false, Ordering::Relaxed);
        Ok(count)
    }

    /// It could not be read.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failing.store(true, Ordering::Relaxed);
    }

    /// How many readings failed, and the age of what was read last.
    pub fn stats(&self) -> (u64, Option<Duration>) {
        let age = self.last.load().as_ref().map(|last| last.read.elapsed());
        (self.failures.load(Ordering::Relaxed), age)
    }

    /// Waits until it is time to read, after `failed` failures in a row.
    pub async fn due(&self, failed: usize) {
        if failed > 0 {
            let pause = TRIED_AGAIN.get(failed - 1).or(TRIED_AGAIN.last()).copied().unwrap_or(ASKED_EVERY);
            return tokio::time::sleep(pause.min(self.refresh)).await;
        }
        let next = tokio::time::sleep(self.refresh);
        let asked = async {
            tokio::time::sleep(ASKED_EVERY.min(self.refresh)).await;
            self.wanted.notified().await;
        };
        tokio::select! {
            () = next => {}
            () = asked => {}
        }
    }
}
