//! Which configuration runs, since when, from where, and what came of the last try to change it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use vertice_config::gateway::GatewayConfig;
use vertice_process::clock;

/// Who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody: the process started.
    Start,
    /// SIGHUP.
    Signal,
    /// The file has changed.
    File,
    /// `POST /config/reload`.
    Admin,
}

impl Cause {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::File => "file",
            Self::Admin => "admin",
        }
    }
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// It runs.
    Applied,
    /// The file was written anew and says the same.
    Unchanged,
    /// It has mistakes or cannot be read.
    Invalid,
    /// It changes what only a new process can have.
    NeedsRestart,
    /// It is valid, but not possible here and now: an address is taken, a log cannot be opened.
    Failed,
}

impl ReloadOutcome {
    /// All, for metrics.
    pub const ALL: [Self; 5] =
        [Self::Applied, Self::Unchanged, Self::Invalid, Self::NeedsRestart, Self::Failed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Invalid => "invalid",
            Self::NeedsRestart => "needs_restart",
            Self::Failed => "failed",
        }
    }

    /// Whether what is wanted runs now.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Applied | Self::Unchanged)
    }
}

/// A reload, with what it said.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What came of it.
    pub outcome: ReloadOutcome,
    /// Of the configuration that runs now.
    pub generation: u64,
    /// Why not, a line each.
    pub errors: Vec<String>,
}

#[derive(Debug)]
struct Running {
    generation: u64,
    config: Arc<GatewayConfig>,
    applied_unix_ms: u64,
    cause: Cause,
    last: Option<Last>,
}

#[derive(Clone, Debug)]
struct Last {
    outcome: ReloadOutcome,
    cause: Cause,
    unix_ms: u64,
    errors: Vec<String>,
}

/// Shared by all who show it.
#[derive(Debug)]
pub struct ConfigState {
    from: String,
    running: Mutex<Running>,
    counts: [AtomicU64; ReloadOutcome::ALL.len()],
}

impl ConfigState {
    /// The configuration of the start, which came from the place `from`.
    pub fn new(config: Arc<GatewayConfig>, from: String) -> Self {
        let running = Running {
            generation: 1,
            config,
            applied_unix_ms: clock::unix_ms(),
            cause: Cause::Start,
            last: None,
        };
        Self { from, running: Mutex::new(running), counts: Default::default() }
    }

    /// Notes what came of a reload; `config` where it was applied.
    pub fn note(
        &self,
        cause: Cause,
        outcome: ReloadOutcome,
        errors: Vec<String>,
        config: Option<Arc<GatewayConfig>>,
    ) -> Reloaded {
        for (of, count) in ReloadOutcome::ALL.iter().zip(&self.counts) {
            if *of == outcome {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.with(|running| {
            let unix_ms = clock::unix_ms();
            if let Some(config) = config {
                running.generation += 1;
                (running.config, running.applied_unix_ms, running.cause) = (config, unix_ms, cause);
            }
            running.last = Some(Last { outcome, cause, unix_ms, errors: errors.clone() });
            Reloaded { outcome, generation: running.generation, errors }
        })
    }

    /// The configuration that runs.
    pub fn config(&self) -> Arc<GatewayConfig> {
        self.with(|running| running.config.clone())
    }

    /// Its number: 1 at the start, one more with each that was applied.
    pub fn generation(&self) -> u64 {
        self.with(|running| running.generation)
    }

    /// Whether the last try left the one before running.
    pub fn last_failed(&self) -> bool {
        self.with(|running| running.last.as_ref().is_some_and(|last| !last.outcome.is_good()))
    }

    /// Reloads by outcome.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ReloadOutcome::ALL
            .iter()
            .zip(&self.counts)
            .map(|(of, count)| (of.as_str(), count.load(Ordering::Relaxed)))
    }

    /// What clients may see: no names, no addresses.
    pub fn as_json(&self) -> Value {
        self.with(|running| {
            json!({
                "generation": running.generation,
                "applied_at": time(running.applied_unix_ms),
                "last_reload_failed": running.last.as_ref().is_some_and(|last| !last.outcome.is_good()),
            })
        })
    }

    /// What operators see beside the configuration itself.
    pub fn details(&self) -> Value {
        self.with(|running| {
            json!({
                "generation": running.generation,
                "from": self.from,
                "applied_at": time(running.applied_unix_ms),
                "applied_by": running.cause.as_str(),
                "last_reload": running.last.as_ref().map(|last| json!({
                    "outcome": last.outcome.as_str(),
                    "by": last.cause.as_str(),
                    "at": time(last.unix_ms),
                    "errors": last.errors,
                })),
            })
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Running) -> T) -> T {
        work(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn time(unix_ms: u64) -> Option<String> {
    let ms = i64::try_from(unix_ms).ok()?;
    jiff::Timestamp::from_millisecond(ms).ok().map(|time| time.to_string())
}
