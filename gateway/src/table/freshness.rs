//! How old the truth is: what discovery last knew of the registry, for everyone who shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

/// The state of the source that tables are made from.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    /// `watched` or `polled`; `None` before the first answer.
    pub kind: Option<&'static str>,
    /// What the registry last said of itself.
    pub state: Option<String>,
    /// When it last gave a usable answer.
    pub last_proof: Option<Instant>,
    /// Whether a whole read was ever applied.
    pub complete: bool,
    /// Whether the last try to reach it failed.
    pub failing: bool,
    /// The last failure, kept for the record.
    pub last_error: Option<String>,
    /// Failures so far, by their kind.
    pub failures: BTreeMap<&'static str, u64>,
    /// Instances that are served although the registry no longer names them.
    pub held: usize,
    /// Entries that were left out.
    pub rejects: Vec<(String, String)>,
    /// The last known good on disk.
    pub last_known_good: LastKnownGood,
    /// What proves that the watch lives.
    pub canary: CanaryProof,
    /// Since when a table waits for a worker to take it up, so that it can be acknowledged.
    pub unacknowledged_since: Option<Instant>,
}

/// The last known good on disk.
#[derive(Clone, Debug, Default)]
pub struct LastKnownGood {
    /// Whether it is kept at all.
    pub kept: bool,
    /// Instances that are served from it alone: no registry has named them since the start.
    pub unconfirmed: usize,
    /// When it was last written.
    pub written: Option<Instant>,
    /// Why it cannot be written.
    pub error: Option<String>,
    /// Writes that failed.
    pub failures: u64,
}

/// A number that we write into the registry and that has to come back over the watch.
#[derive(Clone, Debug, Default)]
pub struct CanaryProof {
    /// `off` (the registry cannot be watched, or has not answered), `refused`, `waiting` or `proven`.
    pub state: &'static str,
    /// When a number last came back.
    pub back: Option<Instant>,
    /// How long that one took.
    pub round_trip: Option<Duration>,
    /// How often one did not come back.
    pub deaf: u64,
}

impl Freshness {
    /// Seconds since the last proof of life.
    pub fn age_seconds(&self) -> Option<f64> {
        self.last_proof.map(|proof| proof.elapsed().as_secs_f64())
    }

    /// For status pages.
    pub fn as_json(&self) -> serde_json::Value {
        json!({
            "kind": self.kind,
            "state": self.state,
            "complete": self.complete,
            "reachable": !self.failing,
            "age_seconds": self.age_seconds().map(milliseconds),
            "last_error": self.last_error,
            "failures": self.failures,
            "held": self.held,
            "rejects": self.rejects.iter().map(|(entry, reason)| json!({"entry": entry, "reason": reason})).collect::<Vec<_>>(),
            "last_known_good": {
                "kept": self.last_known_good.kept,
                "unconfirmed": self.last_known_good.unconfirmed,
                "written_age_seconds": age(self.last_known_good.written),
                "error": self.last_known_good.error,
            },
            "canary": {
                "state": self.canary.state,
                "age_seconds": age(self.canary.back),
                "round_trip_seconds": self.canary.round_trip.map(|trip| milliseconds(trip.as_secs_f64())),
                "deaf": self.canary.deaf,
            },
        })
    }
}

fn age(at: Option<Instant>) -> Option<f64> {
    at.map(|at| milliseconds(at.elapsed().as_secs_f64()))
}

/// Seconds, to the millisecond.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
