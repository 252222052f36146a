//! Entries that a gateway could not use, told to the registry and from there to who registered them.

use serde::{Deserialize, Serialize};

use crate::name::{InstanceId, ServiceName};

/// Most entries in one `POST /v1/rejects`.
pub const MAX_REJECTS: usize = 1000;
/// Bytes of a reason; longer ones are cut.
pub const REASON_BYTES: usize = 256;

/// `POST /v1/rejects`: all that this gateway rejects now; it replaces what the gateway said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejects {
    /// The gateway's own id.
    pub gateway: String,
    /// Empty: it rejects nothing any more.
    pub rejects: Vec<Reject>,
}

/// One entry that a gateway rejects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Whose copy.
    pub service: ServiceName,
    /// Which.
    pub instance_id: InstanceId,
    /// What the gateway saw.
    pub generation: u64,
    /// For people.
    pub reason: String,
}

/// A reject as its registrant is told, in the answers to heartbeats and registrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Who rejects it.
    pub gateway: String,
    /// Why.
    pub reason: String,
    /// Seconds since the gateway said so.
    pub age_s: u64,
}
