//! A change as it goes over the wire: the same JSON as `vertice_registry_api::watch::Change`, without copying instances.

use serde::Serialize;
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Revision, ServiceName, SourceState};

use crate::store::{Change, Delta};

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum ChangeLine<'c> {
    Upsert {
        revision: Revision,
        instance: &'c Instance,
    },
    Remove {
        revision: Revision,
        service: &'c ServiceName,
        instance_id: &'c InstanceId,
        generation: u64,
        reason: RemovalReason,
    },
}

impl<'c> ChangeLine<'c> {
    fn new(revision: Revision, change: &'c Change) -> Self {
        match change {
            Change::Upsert(instance) => Self::Upsert { revision, instance },
            Change::Remove { service, instance_id, generation, reason } => {
                Self::Remove { revision, service, instance_id, generation: *generation, reason: *reason }
            }
        }
    }
}

/// The changes of `delta` with their revisions.
pub(super) fn lines(delta: &Delta) -> impl Iterator<Item = ChangeLine<'_>> {
    let revisions = (delta.from.0 + 1..).map(Revision);
    revisions.zip(&delta.changes).map(|(revision, change)| ChangeLine::new(revision, change))
}

/// As `vertice_registry_api::watch::WatchAnswer`.
#[derive(Serialize)]
pub(super) struct WatchLine<'c> {
    pub(super) epoch: Epoch,
    pub(super) from: Revision,
    pub(super) to: Revision,
    pub(super) changes: Vec<ChangeLine<'c>>,
    pub(super) digest: SetDigest,
    pub(super) state: SourceState,
}
