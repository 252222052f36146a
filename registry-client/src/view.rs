//! What the source said, kept: the pure state machine that decides when absence counts as removal.
//!
//! The rules, in one place:
//!
//! 1. An upsert and a removal with the reason deregistered, drained or removed apply at once. An expiry applies at once
//!    within a budget ([`budget`]), beyond it the instance is *held*: still served, and probed by the caller.
//! 2. An instance missing from a whole read is held. A service that the read could not cover is not missing. An empty
//!    read is no exception: everything is missing.
//! 3. What one history dropped is removed when a second, independent read agrees: complete, of the same epoch, over
//!    another connection, [`CONFIRM_AFTER`] later, from a registry that says that it is serving. What does not answer its
//!    probes then goes at once; of the rest at most half of everything goes within [`HOLD_LIMIT`], or none. Absence from
//!    any other read (new epoch, registry without history) proves nothing however often it is repeated.
//! 4. A hold ends when the source names the instance again, when another instance of the service has its URL (the same
//!    endpoint under another id), when [`PROBE_FAILURES`] probes in a row failed (removed), or when an operator says so.
//!    What is known from the disk only is disproved by probes only while some other probe has an answer: where none has,
//!    it is our own network that is broken.
//! 5. After [`HOLD_LIMIT`] a held instance that answered its last probe stays, marked stale, and is probed on; any other
//!    is removed.

mod hold;
mod budget;
mod absence;
mod holds;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName, SourceState};

use crate::error::SourceError;
use crate::event::{Event, Reject, SetChange, SourceKind};
use budget::{AbsenceGuard, ExpiryBudget};
pub use hold::{Hold, HoldEnd, HoldReason};
pub use holds::{Known, Released};

/// The longest hold. Long enough for a registry to be restored by hand, short enough that no address is kept for ever.
pub const HOLD_LIMIT: Duration = Duration::from_mins(10);
/// Failed probes in a row that prove a held instance dead: one may be a lost packet.
pub const PROBE_FAILURES: u8 = 2;
/// How much later a second read must be to be independent of the first: longer than a proxy's or a replica's hiccup, and
/// than the first few probes.
pub const CONFIRM_AFTER: Duration = Duration::from_secs(5);
/// Between two sweeps that mark every service as proven; changes can come thousands a second.
const PROOF_SWEEP: Duration = Duration::from_secs(1);

/// An instance as the source last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenInstance {
    /// Its last good form.
    pub instance: Arc<Instance>,
    /// Set while the source does not name it.
    pub hold: Option<Hold>,
}

impl SeenInstance {
    /// Whether it is served without a source that vouches for it: its lease ran out, or its hold did.
    pub fn is_stale(&self) -> bool {
        self.instance.stale || self.hold.is_some_and(|hold| hold.stale)
    }
}

/// A service with at least one instance, held ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenService {
    /// By id.
    pub instances: BTreeMap<InstanceId, SeenInstance>,
    /// When the source last vouched for what it says of this service.
    pub last_proof: Instant,
}

/// How the source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// What answered, `None` before the first answer.
    pub kind: Option<SourceKind>,
    /// What the registry last said of itself.
    pub state: Option<SourceState>,
    /// How far its history is applied.
    pub position: Option<Position>,
    /// When it last gave a usable answer.
    pub last_proof: Option<Instant>,
    /// The last failure; stays for the record after a recovery.
    pub last_error: Option<SourceError>,
    /// Since when nothing usable has come; `None` while it answers.
    pub failing_since: Option<Instant>,
    /// Entries left out, the first [`crate::event::MAX_REJECTS`].
    pub rejects: Vec<Reject>,
    /// All entries left out.
    pub rejects_total: usize,
}

/// All that the source said and that still counts.
#[derive(Clone, Debug, Default)]
pub struct View {
    services: BTreeMap<ServiceName, SeenService>,
    /// All instances of `services`.
    count: usize,
    /// Which instances are held: what `held` and `tick` look at, instead of everything.
    holds: BTreeMap<ServiceName, BTreeSet<InstanceId>>,
    /// All of `holds`.
    held: usize,
    /// Ends of holds so far, in the order of [`HoldEnd::ALL`].
    ended: [u64; HoldEnd::ALL.len()],
    expiries: ExpiryBudget,
    guard: AbsenceGuard,
    /// When a probe last had an answer.
    answered: Option<Instant>,
    /// When a second read was last asked for.
    read_asked: Option<Instant>,
    /// The position that the disk remembers, until a source has one.
    remembered: Option<Position>,
    status: SourceStatus,
    complete: bool,
    last_sweep: Option<Instant>,
}

impl View {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event in. Returns the services whose instances (or their holds) changed.
    pub fn apply(&mut self, event: &Event, now: Instant) -> BTreeSet<ServiceName> {
        let mut changed = BTreeSet::new();
        match event {
            Event::Identified(kind) => {
                if self.status.kind.replace(*kind) != Some(*kind) {
                    // Another kind of registry has another history, whatever its numbers.
                    self.status.position = None;
                    self.remembered = None;
                }
            }
            Event::Replaced { instances, unread, position, state, authority } => {
                let meaning = self.what_missing_means(*position, *state, *authority);
                self.prove(*position, *state, now);
                self.replace(instances, unread, meaning, now, &mut changed);
                self.supersede(instances.iter().map(|i| &i.service), &mut changed);
                // A read in which nothing could be read says nothing yet; one that covered a part is all there is.
                self.complete |= unread.is_empty() || !instances.is_empty();
                self.prove_watched(now, true);
            }
            Event::Changed { changes, position, state } => {
                self.prove(*position, *state, now);
                for change in changes {
                    self.take(change, now, &mut changed);
                }
                let upserts = changes.iter().filter_map(|change| match change {
                    SetChange::Upsert(instance) => Some(&instance.service),
                    SetChange::Removed { .. } => None,
                });
                self.supersede(upserts, &mut changed);
                self.prove_watched(now, false);
            }
            Event::Alive { position, state } => {
                self.prove(*position, *state, now);
                self.prove_watched(now, true);
            }
            Event::Rejected { rejects, total } => {
                self.status.rejects.clone_from(rejects);
                self.status.rejects_total = *total;
            }
            Event::Failed { error, retry_in: _ } => {
                self.status.last_error = Some(error.clone());
                self.status.failing_since.get_or_insert(now);
            }
        }
        changed
    }

    /// All services that have an instance, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &SeenService)> {
        self.services.iter()
    }

    /// One service; `None` if no instance of it is known.
    pub fn service(&self, name: &ServiceName) -> Option<&SeenService> {
        self.services.get(name)
    }

    /// All instances that are known, held ones included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How the source is doing.
    pub fn status(&self) -> &SourceStatus {
        &self.status
    }

    /// How far the history of what is known goes: the source's, before its first answer the disk's.
    pub fn position(&self) -> Option<Position> {
        self.status.position.or(self.remembered)
    }

    /// As [`View::position`], where the absence of anything from a read of that history is worth a second read: `None`
    /// while something is held that no read disproves. For the disk, from which everything is held for one and the same
    /// reason: what a registry with a new history did not know *yet*, and what expired in a mass, must not come back as
    /// something that a read can confirm to be gone.
    pub fn position_of_all(&self) -> Option<Position> {
        let beyond_reads = |hold: Hold| match hold.reason {
            HoldReason::NewEpoch | HoldReason::NoHistory | HoldReason::Expired => true,
            HoldReason::Missing | HoldReason::NotServing | HoldReason::LastKnownGood => false,
        };
        self.position().filter(|_| !self.held().any(|(_, seen)| seen.hold.is_some_and(beyond_reads)))
    }

    /// Whether at least one whole read was applied, or the last known good. It stays so: what was once known is never
    /// unknown again.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// One step of a batch.
    fn take(&mut self, change: &SetChange, now: Instant, changed: &mut BTreeSet<ServiceName>) {
        match change {
            SetChange::Upsert(instance) => {
                self.upsert(instance, now, changed);
                if let Some(service) = self.services.get_mut(&instance.service) {
                    service.last_proof = now;
                }
            }
            SetChange::Removed { service, instance_id, reason } => match reason {
                RemovalReason::Deregistered | RemovalReason::Drained | RemovalReason::Removed => {
                    self.remove(service, instance_id, HoldEnd::Removed, changed);
                }
                RemovalReason::Expired => self.expire(service, instance_id, now, changed),
            },
        }
    }

    fn expire(
        &mut self,
        name: &ServiceName,
        id: &InstanceId,
        now: Instant,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let Some(of_service) = self.services.get(name).filter(|service| service.instances.contains_key(id))
        else {
            return;
        };
        if self.expiries.take(name, of_service.instances.len(), self.count, now) {
            self.remove(name, id, HoldEnd::Removed, changed);
        } else {
            self.hold(name, id, HoldReason::Expired, now, changed);
        }
    }

    fn prove(&mut self, position: Option<Position>, state: SourceState, now: Instant) {
        self.status.position = position;
        self.status.state = Some(state);
        self.status.last_proof = Some(now);
        self.status.failing_since = None;
    }

    /// A watched registry vouches for its whole set with every answer; a polled one only for what was read.
    fn prove_watched(&mut self, now: Instant, at_once: bool) {
        let due = self.last_sweep.is_none_or(|last| now.saturating_duration_since(last) >= PROOF_SWEEP);
        if self.status.kind != Some(SourceKind::Watched) || !(at_once || due) {
            return;
        }
        self.last_sweep = Some(now);
        for service in self.services.values_mut() {
            if service.instances.values().any(|seen| seen.hold.is_none()) {
                service.last_proof = now;
            }
        }
    }

    fn upsert(&mut self, instance: &Arc<Instance>, now: Instant, changed: &mut BTreeSet<ServiceName>) {
        let service = self
            .services
            .entry(instance.service.clone())
            .or_insert_with(|| SeenService { instances: BTreeMap::new(), last_proof: now });
        if let Some(seen) = service.instances.get_mut(&instance.instance_id) {
            let was_held = seen.hold.take().is_some();
            let differs = !Arc::ptr_eq(&seen.instance, instance) && seen.instance != *instance;
            if differs {
                seen.instance = instance.clone();
            }
            if was_held {
                self.forget_hold(&instance.service, &instance.instance_id, HoldEnd::NamedAgain);
            }
            if was_held || differs {
                changed.insert(instance.service.clone());
            }
        } else {
            let seen = SeenInstance { instance: instance.clone(), hold: None };
            service.instances.insert(instance.instance_id.clone(), seen);
            self.count += 1;
            changed.insert(instance.service.clone());
        }
    }

    /// Removes the instance; `end` is how its hold ends, if it has one.
    fn remove(
        &mut self,
        name: &ServiceName,
        id: &InstanceId,
        end: HoldEnd,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some(seen) = service.instances.remove(id) {
            self.count -= 1;
            changed.insert(name.clone());
            if service.instances.is_empty() {
                self.services.remove(name);
            }
            if seen.hold.is_some() {
                self.forget_hold(name, id, end);
            }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod laws;
