//! What a source says, as plain data: each event with its reasons and with how much it proves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName, SourceState};

use crate::error::SourceError;

/// How a registry is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Our registry: a snapshot, then every change.
    Watched,
    /// A registry that speaks only the five old calls: read again and again.
    Polled,
}

impl SourceKind {
    /// A word for people and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watched => "watched",
            Self::Polled => "polled",
        }
    }
}

/// What the absence of an instance from a whole read proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Completeness was proven: count and digest of the snapshot are right.
    Complete,
    /// A whole read that proves nothing about what it lacks.
    Partial,
}

/// One step of a batch, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetChange {
    /// The instance is new or different, or (polled) was read again; this is all of it.
    Upsert(Arc<Instance>),
    /// The registry removed it and says why.
    Removed {
        /// Whose copy.
        service: ServiceName,
        /// Which.
        instance_id: InstanceId,
        /// Why.
        reason: RemovalReason,
    },
}

/// An entry of the registry that breaks our rules and was left out. Its last good form stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reject {
    /// The entry's name as it may be shown.
    pub name: String,
    /// The rule it breaks.
    pub reason: String,
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Which kind of registry answered. Comes before everything else and again after each reconnect that asked.
    Identified(SourceKind),
    /// A whole read.
    Replaced {
        /// All that the source has, each once.
        instances: Vec<Arc<Instance>>,
        /// Services that the source lists but that could not be read: nothing is said about these.
        unread: BTreeSet<ServiceName>,
        /// Where in history; `None` where the source has no history.
        position: Option<Position>,
        /// What the registry says of itself.
        state: SourceState,
        /// What absence proves.
        authority: Authority,
    },
    /// What changed since the event before, one answer of the registry at a time.
    Changed {
        /// In order.
        changes: Vec<SetChange>,
        /// Where in history this led; `None` where the source has no history.
        position: Option<Position>,
        /// What the registry says of itself.
        state: SourceState,
    },
    /// Proof of life without a change.
    Alive {
        /// Where in history.
        position: Option<Position>,
        /// What the registry says of itself.
        state: SourceState,
    },
    /// Entries that the registry offers now and that were left out, replacing what was said of them before.
    Rejected {
        /// The first [`MAX_REJECTS`] of them.
        rejects: Vec<Reject>,
        /// All of them.
        total: usize,
    },
    /// Nothing usable came. All that was said before stays.
    Failed {
        /// Why.
        error: SourceError,
        /// When the next try is made.
        retry_in: Duration,
    },
}

/// Rejects shown one by one; more are only counted. A page for a person, not a copy of a broken registry.
pub const MAX_REJECTS: usize = 100;
