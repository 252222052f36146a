//! The held instances: how they begin, are probed, and end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName};

use super::{HOLD_LIMIT, Hold, HoldEnd, HoldReason, PROBE_FAILURES, SeenInstance, SeenService, View};
use crate::event::SourceKind;

/// For this long an answered probe shows that our own network works.
const NETWORK_PROOF: Duration = Duration::from_secs(30);

/// An instance that is known from the disk.
#[derive(Clone, Debug)]
pub struct Known {
    /// As it was last described.
    pub instance: Arc<Instance>,
    /// When a source last vouched for it.
    pub last_proof: Instant,
}

/// An instance that an operator let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Whose copy.
    pub service: ServiceName,
    /// Which.
    pub instance_id: InstanceId,
}

impl View {
    /// Begins with what the disk remembers, all of it held until a source names it. `kind` is a guess. Nothing known is
    /// no knowledge: then this is as good as [`View::new`].
    pub fn restore(known: Vec<Known>, kind: Option<SourceKind>, at: Option<Position>, now: Instant) -> Self {
        let mut view = Self::new();
        let mut changed = BTreeSet::new();
        for Known { instance, last_proof } in known {
            let (name, id) = (instance.service.clone(), instance.instance_id.clone());
            let service = view
                .services
                .entry(name.clone())
                .or_insert_with(|| SeenService { instances: BTreeMap::new(), last_proof });
            service.last_proof = service.last_proof.max(last_proof);
            if service.instances.insert(id.clone(), SeenInstance { instance, hold: None }).is_none() {
                view.count += 1;
            }
            view.hold(&name, &id, HoldReason::LastKnownGood, now, &mut changed);
            view.status.last_proof = view.status.last_proof.max(Some(last_proof));
        }
        view.complete = view.count > 0;
        view.status.kind = kind;
        view.remembered = at;
        view
    }

    /// The held instances.
    pub fn held(&self) -> impl Iterator<Item = (&ServiceName, &SeenInstance)> {
        self.holds.iter().flat_map(|(name, ids)| {
            let service = self.services.get(name);
            ids.iter().filter_map(move |id| Some((name, service?.instances.get(id)?)))
        })
    }

    /// How many are held.
    pub fn held_count(&self) -> usize {
        self.held
    }

    /// How many of them no source has named since the start.
    pub fn unconfirmed_count(&self) -> usize {
        let known_only = |hold: Hold| hold.reason == HoldReason::LastKnownGood;
        self.held().filter(|(_, seen)| seen.hold.is_some_and(known_only)).count()
    }

    /// Ends of holds since the start.
    pub fn holds_ended(&self) -> impl Iterator<Item = (HoldEnd, u64)> {
        HoldEnd::ALL.into_iter().zip(self.ended)
    }

    /// Takes the outcome of a probe in. Says nothing about an instance that is not held (any more).
    pub fn record_probe(
        &mut self,
        name: &ServiceName,
        id: &InstanceId,
        alive: bool,
        now: Instant,
    ) -> BTreeSet<ServiceName> {
        let mut changed = BTreeSet::new();
        if alive {
            self.answered = Some(now);
        }
        let network_works = self.answered.is_some_and(|at| now.saturating_duration_since(at) < NETWORK_PROOF);
        let seen = self.services.get_mut(name).and_then(|service| service.instances.get_mut(id));
        let Some(hold) = seen.and_then(|seen| seen.hold.as_mut()) else { return changed };
        hold.last_probe = Some(alive);
        hold.failures = if alive { 0 } else { hold.failures.saturating_add(1) };
        let counts = hold.reason != HoldReason::LastKnownGood || network_works;
        if hold.failures >= PROBE_FAILURES && counts {
            self.remove(name, id, HoldEnd::ProbesFailed, &mut changed);
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
                    count_end(&mut self.ended, HoldEnd::MarkedStale);
                } else {
                    over.push((name.clone(), id.clone()));
                }
            }
        }
        for (name, id) in over {
            self.remove(&name, &id, HoldEnd::TimeOver, &mut changed);
        }
        changed
    }

    /// Lets held instances go on an operator's word: all, those of one service, or one of them. What is not held stays.
    pub fn release(
        &mut self,
        service: Option<&ServiceName>,
        id: Option<&InstanceId>,
    ) -> (Vec<Released>, BTreeSet<ServiceName>) {
        let meant: Vec<Released> = self
            .held()
            .filter(|(name, seen)| {
                service.is_none_or(|wanted| wanted == *name)
                    && id.is_none_or(|wanted| *wanted == seen.instance.instance_id)
            })
            .map(|(name, seen)| Released {
                service: name.clone(),
                instance_id: seen.instance.instance_id.clone(),
            })
            .collect();
        let mut changed = BTreeSet::new();
        for Released { service, instance_id } in &meant {
            self.remove(service, instance_id, HoldEnd::Released, &mut changed);
        }
        (meant, changed)
    }

    /// Holds the instance, unless it is held already.
    pub(super) fn hold(
        &mut self,
        name: &ServiceName,
        id: &InstanceId,
        reason: HoldReason,
        now: Instant,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(seen) = service.instances.get_mut(id).filter(|seen| seen.hold.is_none()) else { return };
        seen.hold = Some(Hold::new(reason, service.last_proof, now));
        self.holds.entry(name.clone()).or_default().insert(id.clone());
        self.held += 1;
        changed.insert(name.clone());
    }

    pub(super) fn forget_hold(&mut self, name: &ServiceName, id: &InstanceId, end: HoldEnd) {
        if let Some(ids) = self.holds.get_mut(name)
            && ids.remove(id)
        {
            self.held -= 1;
            if ids.is_empty() {
                self.holds.remove(name);
            }
            count_end(&mut self.ended, end);
        }
    }
}

fn count_end(ended: &mut [u64; HoldEnd::ALL.len()], end: HoldEnd) {
    for (_, count) in HoldEnd::ALL.iter().zip(ended).filter(|(of, _)| **of == end) {
        *count += 1;
    }
}
