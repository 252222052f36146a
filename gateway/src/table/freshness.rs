//! How old the truth is: what discovery last knew of the registry, for everyone who shows it.

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
    /// Instances that are served although the registry no longer names them.
    pub held: usize,
    /// Entries that were left out.
    pub rejects: Vec<(String, String)>,
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
            "age_seconds": self.age_seconds().map(|age| (age * 1000.0).round() / 1000.0),
            "last_error": self.last_error,
            "held": self.held,
            "rejects": self.rejects.iter().map(|(entry, reason)| json!({"entry": entry, "reason": reason})).collect::<Vec<_>>(),
        })
    }
}
