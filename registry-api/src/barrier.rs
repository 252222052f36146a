//! Who has applied what: the bodies behind the drain barrier.

use serde::{Deserialize, Serialize};

use crate::position::{Epoch, Revision};

/// `POST /v1/ack`: a gateway has this revision in its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The gateway's own id, stable over its process.
    pub gateway: String,
    /// Of which history.
    pub epoch: Epoch,
    /// Applied up to here.
    pub revision: Revision,
}

/// `GET /v1/barrier?revision=R&timeout=10`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierAnswer {
    /// Gateways that applied it.
    pub applied: usize,
    /// Gateways that are alive.
    pub total: usize,
    /// Ids of those that have not.
    pub missing: Vec<String>,
}
