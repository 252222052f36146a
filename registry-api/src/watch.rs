//! `GET /v1/watch`: what changed since a revision.

use serde::{Deserialize, Serialize};

use crate::digest::SetDigest;
use crate::instance::Instance;
use crate::name::{InstanceId, ServiceName};
use crate::position::{Epoch, Revision, SourceState};

/// Why an instance went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovalReason {
    /// Its owner said so.
    Deregistered,
    /// It drained to its end.
    Drained,
    /// Its lease ran out.
    Expired,
    /// An operator said so.
    Removed,
}

impl RemovalReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deregistered => "deregistered",
            Self::Drained => "drained",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }
}

/// One step of history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The revision that this change made.
    pub revision: Revision,
    /// What it did.
    #[serde(flatten)]
    pub op: ChangeOp,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum ChangeOp {
    /// The instance is new or different; this is all of it.
    Upsert {
        /// Its content.
        instance: Box<Instance>,
    },
    /// The instance is gone.
    Remove {
        /// Whose copy.
        service: ServiceName,
        /// Which.
        instance_id: InstanceId,
        /// The generation that went.
        generation: u64,
        /// Why.
        reason: RemovalReason,
    },
}

/// The answer of a long poll. It applies only where the local position is `(epoch, from)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchAnswer {
    /// Of which history.
    pub epoch: Epoch,
    /// The revision before the first change.
    pub from: Revision,
    /// The revision after the last.
    pub to: Revision,
    /// In order, without a gap.
    pub changes: Vec<Change>,
    /// Of the whole set at `to`.
    pub digest: SetDigest,
    /// What the registry says of itself.
    pub state: SourceState,
}

/// The body of a 410: the asked revision is not in the log (any more), take a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// For people.
    pub detail: String,
    /// The epoch now.
    pub epoch: Epoch,
    /// The oldest revision that a watch can start from.
    pub oldest: Revision,
}

/// The data of an SSE `bookmark` event: the watch is alive, and this is the set's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// Where in history.
    pub epoch: Epoch,
    /// Where in history.
    pub revision: Revision,
    /// Of the whole set.
    pub digest: SetDigest,
    /// What the registry says of itself.
    pub state: SourceState,
}
