//! Keeping a lease alive, one at a time (the old call) or in batches.

use serde::{Deserialize, Serialize};

use crate::position::Epoch;

/// The body of the old `POST /heartbeat`. Without an instance it renews `@legacy` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// Whose lease. Unchecked text: an unknown name is a 404, whatever it looks like.
    pub service_name: String,
    /// Which copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Wanted with `instance_id`; an old one answers 409.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// The body of a 404 to a heartbeat: register again, after a pause that spreads a herd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownLease {
    /// For people and old clients.
    pub detail: String,
    /// Milliseconds to wait before registering again.
    pub retry_after_ms: u64,
}

/// The body of `POST /v1/heartbeats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequest {
    /// Handles are valid in one epoch; in another all leases are lost.
    pub epoch: Epoch,
    /// `[handle, generation]` pairs.
    pub leases: Vec<(u64, u64)>,
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// Handles that have no lease (any more): register these again.
    pub lost: Vec<u64>,
    /// Milliseconds until the next batch is wanted.
    pub next_ms: u64,
}
