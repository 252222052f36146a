//! What the source said, kept: the pure state machine that decides when absence counts as removal.
//!
//! The rules, in one place:
//!
//! 1. An upsert and a removal with a reason (deregistered, drained, expired, removed) apply at once.
//! 2. An instance missing from a whole read is *removed* when the read is complete, of the epoch that is known here, and
//!    the registry says that it is serving: it was known in this history, and this history dropped it.
//! 3. Missing from any other whole read (new epoch, registry not serving, a registry without history) it is *held*: still
//!    served, and probed by the caller. A service that the read could not cover is not missing. An empty read is no
//!    exception: everything is missing.
//! 4. A hold ends when the source names the instance again, when another instance of the service has its URL (the same
//!    endpoint under another id), or when [`PROBE_FAILURES`] probes in a row failed (removed).
//! 5. After [`HOLD_LIMIT`] a held instance that answered its last probe stays, marked stale, and is probed on; any other
//!    is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName, ServiceUrl, SourceState};

use crate::error::SourceError;
use crate::event::{Authority, Event, Reject, SetChange, SourceKind};

/// The longest hold. Long enough for a registry to be restored by hand, short enough that no address is kept for ever.
pub const HOLD_LIMIT: Duration = Duration::from_mins(10);
/// Failed probes in a row that prove a held instance dead: one may be a lost packet.
pub const PROBE_FAILURES: u8 = 2;
/// Between two sweeps that mark every service as proven; changes can come thousands a second.
const PROOF_SWEEP: Duration = Duration::from_secs(1);

/// Why an instance that the source no longer names is still served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The registry started a new history: it may not have heard of the instance yet.
    NewEpoch,
    /// The registry says of itself that it is not serving normally.
    NotServing,
    /// The registry has no history: its absence of a record proves nothing.
    NoHistory,
}

impl HoldReason {
    /// A word for people and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewEpoch => "new_epoch",
            Self::NotServing => "not_serving",
            Self::NoHistory => "no_history",
        }
    }
}

/// The state of a held instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Instant,
    /// Over [`HOLD_LIMIT`], and kept because it answers its probes.
    pub stale: bool,
    /// Failed probes in a row.
    failures: u8,
    /// What the last probe said, `None` before the first.
    last_probe: Option<bool>,
}

/// An instance as the source last described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenInstance {
    /// Its last good form.
    pub instance: Arc<Instance>,
    /// Set while the source no longer names it.
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
    /// Which instances are held: what `held` and `tick` look at, instead of everything.
    holds: BTreeMap<ServiceName, BTreeSet<InstanceId>>,
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
                }
            }
            Event::Replaced { instances, unread, position, state, authority } => {
                let missing = self.what_missing_means(*position, *state, *authority);
                self.prove(*position, *state, now);
                self.replace(instances, unread, missing, now, &mut changed);
                self.supersede(instances.iter().map(|i| &i.service), &mut changed);
                // A read in which nothing could be read says nothing yet; one that covered a part is all there is.
                self.complete |= unread.is_empty() || !instances.is_empty();
                self.prove_watched(now, true);
            }
            Event::Changed { changes, position, state } => {
                self.prove(*position, *state, now);
                for change in changes {
                    match change {
                        SetChange::Upsert(instance) => {
                            self.upsert(instance, now, &mut changed);
                            if let Some(service) = self.services.get_mut(&instance.service) {
                                service.last_proof = now;
                            }
                        }
                        SetChange::Removed { service, instance_id, reason: _ } => {
                            self.remove(service, instance_id, &mut changed);
                        }
                    }
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

    /// How the source is doing.
    pub fn status(&self) -> &SourceStatus {
        &self.status
    }

    /// Whether at least one whole read was applied. It stays so: what was once known is never unknown again.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The held instances: the caller probes each and tells [`View::record_probe`].
    pub fn held(&self) -> impl Iterator<Item = (&ServiceName, &SeenInstance)> {
        self.holds.iter().flat_map(|(name, ids)| {
            let service = self.services.get(name);
            ids.iter().filter_map(move |id| Some((name, service?.instances.get(id)?)))
        })
    }

    /// Takes the outcome of a probe in. Says nothing about an instance that is not held (any more).
    pub fn record_probe(
        &mut self,
        name: &ServiceName,
        id: &InstanceId,
        alive: bool,
        _now: Instant,
    ) -> BTreeSet<ServiceName> {
        let mut changed = BTreeSet::new();
        let seen = self.services.get_mut(name).and_then(|service| service.instances.get_mut(id));
        let Some(hold) = seen.and_then(|seen| seen.hold.as_mut()) else { return changed };
        hold.last_probe = Some(alive);
        hold.failures = if alive { 0 } else { hold.failures.saturating_add(1) };
        if hold.failures >= PROBE_FAILURES {
            self.remove(name, id, &mut changed);
        }
        changed
    }

    /// Ends the holds that are over. Cheap: call it every second or so.
    pub fn tick(&mut self, now: Instant) -> BTreeSet<ServiceName> {
        let mut changed = BTreeSet::new();
        let mut over = Vec::new();
        for (name, ids) in &self.holds {
            let Some(service) = self.services.get_mut(name) else { continue };
            for id in ids {
                let Some(hold) = service.instances.get_mut(id).and_then(|seen| seen.hold.as_mut()) else {
                    continue;
                };
                if hold.stale || now.saturating_duration_since(hold.since) < HOLD_LIMIT {
                    continue;
                }
                if hold.last_probe == Some(true) {
                    hold.stale = true;
                    changed.insert(name.clone());
                } else {
                    over.push((name.clone(), id.clone()));
                }
            }
        }
        for (name, id) in over {
            self.remove(&name, &id, &mut changed);
        }
        changed
    }

    /// Rules 2 and 3: `None` is removal.
    fn what_missing_means(
        &self,
        position: Option<Position>,
        state: SourceState,
        authority: Authority,
    ) -> Option<HoldReason> {
        let known_epoch = self.status.position.map(|position| position.epoch);
        match (authority, position) {
            (Authority::Partial, _) | (Authority::Complete, None) => Some(HoldReason::NoHistory),
            (Authority::Complete, Some(position)) if Some(position.epoch) != known_epoch => {
                Some(HoldReason::NewEpoch)
            }
            (Authority::Complete, Some(_)) if state != SourceState::Serving => Some(HoldReason::NotServing),
            (Authority::Complete, Some(_)) => None,
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
                self.forget_hold(&instance.service, &instance.instance_id);
            }
            if was_held || differs {
                changed.insert(instance.service.clone());
            }
        } else {
            let seen = SeenInstance { instance: instance.clone(), hold: None };
            service.instances.insert(instance.instance_id.clone(), seen);
            changed.insert(instance.service.clone());
        }
    }

    fn replace(
        &mut self,
        instances: &[Arc<Instance>],
        unread: &BTreeSet<ServiceName>,
        missing: Option<HoldReason>,
        now: Instant,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let mut named: BTreeMap<&ServiceName, BTreeSet<&InstanceId>> = BTreeMap::new();
        for instance in instances {
            named.entry(&instance.service).or_default().insert(&instance.instance_id);
            // A poll repeats its last good reads here: their proof was the read itself, not this list of them.
            self.upsert(instance, now, changed);
        }
        let mut gone = Vec::new();
        for (name, service) in &mut self.services {
            if unread.contains(name) {
                continue;
            }
            let named = named.get(name);
            for (id, seen) in &mut service.instances {
                // What is held already was not known in this history: its absence from it proves nothing new.
                if seen.hold.is_some() || named.is_some_and(|ids| ids.contains(id)) {
                    continue;
                }
                match missing {
                    None => gone.push((name.clone(), id.clone())),
                    Some(reason) => {
                        seen.hold =
                            Some(Hold { reason, since: now, stale: false, failures: 0, last_probe: None });
                        self.holds.entry(name.clone()).or_default().insert(id.clone());
                        changed.insert(name.clone());
                    }
                }
            }
        }
        for (name, id) in gone {
            self.remove(&name, &id, changed);
        }
    }

    /// Rule 4: drops held instances of `services` whose URL another, vouched-for instance has now.
    fn supersede<'a>(
        &mut self,
        services: impl Iterator<Item = &'a ServiceName>,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let services: BTreeSet<_> = services.filter(|name| self.holds.contains_key(*name)).collect();
        for name in services {
            let Some(service) = self.services.get(name) else { continue };
            let (held, vouched): (Vec<_>, Vec<_>) =
                service.instances.iter().partition(|(_, seen)| seen.hold.is_some());
            let urls: BTreeSet<&ServiceUrl> = vouched.iter().map(|(_, seen)| &seen.instance.url).collect();
            let doubles: Vec<_> = held
                .into_iter()
                .filter(|(_, seen)| urls.contains(&seen.instance.url))
                .map(|(id, _)| id.clone())
                .collect();
            for id in doubles {
                self.remove(name, &id, changed);
            }
        }
    }

    fn remove(&mut self, name: &ServiceName, id: &InstanceId, changed: &mut BTreeSet<ServiceName>) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.instances.remove(id).is_some() {
            changed.insert(name.clone());
        }
        if service.instances.is_empty() {
            self.services.remove(name);
        }
        self.forget_hold(name, id);
    }

    fn forget_hold(&mut self, name: &ServiceName, id: &InstanceId) {
        if let Some(ids) = self.holds.get_mut(name) {
            ids.remove(id);
            if ids.is_empty() {
                self.holds.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
