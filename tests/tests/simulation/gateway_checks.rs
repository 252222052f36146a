//! What a gateway was told, and what its tables must be because of it.

use std::collections::BTreeSet;
use std::time::Duration;

use vertice_gateway::balance::{Candidates, pick};
use vertice_gateway::table::Table;
use vertice_registry_api::ServiceName;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_client::{Event, SetChange};

use super::gateway::{Around, Process};
use super::property::{Property, Violation};
use super::truth::{Key, key_of};

/// How far the registry's word may be ahead of a gateway's reading of it when the two are compared.
const SLACK: Duration = Duration::from_secs(1);

struct Everybody(usize);

impl Candidates for Everybody {
    fn count(&self) -> usize {
        self.0
    }
    fn weight_sums(&self) -> &[u32] {
        &[]
    }
    fn in_flight(&self, _: usize) -> u32 {
        0
    }
    fn excluded(&self, _: usize) -> bool {
        false
    }
    fn suspect(&self, _: usize) -> bool {
        false
    }
    fn share_percent(&self, _: usize) -> u8 {
        100
    }
}

impl Process {
    /// Remembers which removals were told with a reason.
    pub fn note(&mut self, event: &Event, around: &Around<'_>) {
        match event {
            Event::Changed { changes, .. } => {
                for change in changes {
                    match change {
                        SetChange::Upsert(instance) => _ = self.told.remove(&key_of(instance)),
                        SetChange::Removed { service, instance_id, reason } => {
                            self.told.insert((service.clone(), instance_id.clone()), *reason);
                        }
                    }
                }
            }
            Event::Replaced { instances, .. } => {
                let named: BTreeSet<Key> = instances.iter().map(|i| key_of(i)).collect();
                for key in &named {
                    self.told.remove(key);
                }
                let known = self.view.services().flat_map(|(_, service)| service.instances.values());
                let missing: Vec<Key> =
                    known.map(|seen| key_of(&seen.instance)).filter(|key| !named.contains(key)).collect();
                for key in missing {
                    // Removed by word while this gateway did not listen.
                    let late = around.history.removed_at(&key).is_some_and(|at| at + SLACK >= self.heard);
                    // One replica may have known that for long before another one is asked.
                    if late || around.history.is_removed(&key) {
                        self.told.entry(key).or_insert(RemovalReason::Expired);
                    }
                }
            }
            Event::Identified(_) | Event::Alive { .. } | Event::Rejected { .. } | Event::Failed { .. } => {}
        }
        if !matches!(event, Event::Failed { .. } | Event::Identified(_)) {
            self.heard = around.now;
        }
    }

    /// For a saboteur: what a whole read lacks, as removals.
    pub fn absences(&self, event: &Event) -> Vec<SetChange> {
        let Event::Replaced { instances, .. } = event else { return Vec::new() };
        let named: BTreeSet<Key> = instances.iter().map(|i| key_of(i)).collect();
        let known = self.view.services().flat_map(|(_, service)| service.instances.values());
        let missing = known.map(|seen| key_of(&seen.instance)).filter(|key| !named.contains(key));
        let removed = |(service, instance_id)| {
            let reason = RemovalReason::Removed;
            SetChange::Removed { service, instance_id, reason }
        };
        missing.map(removed).collect()
    }

    /// P9: an owner's word is carried out with the event that brings it.
    pub fn check_told(&self) -> Result<(), Violation> {
        for (key, reason) in self.told.iter().filter(|(_, reason)| **reason != RemovalReason::Expired) {
            let service = self.table.services.by_name(key.0.as_str());
            if service.is_some_and(|service| service.all.iter().any(|e| e.spec.instance_id == key.1)) {
                return Violation::of(Property::P9, format!("{key:?} is {reason:?} and still in a table"));
            }
        }
        Ok(())
    }

    pub fn check_service(
        &self,
        name: &ServiceName,
        before: &Table,
        around: &Around<'_>,
    ) -> Result<(), Violation> {
        let now = self.table.services.by_name(name.as_str());
        let has = |id| now.is_some_and(|service| service.all.iter().any(|e| e.spec.instance_id == id));
        for endpoint in before.services.by_name(name.as_str()).iter().flat_map(|service| &service.routable) {
            let key = (name.clone(), endpoint.spec.instance_id.clone());
            if has(key.1.clone()) || self.told.contains_key(&key) {
                continue;
            }
            let since = around.services.wants_requests_since(&key);
            if since.is_some_and(|since| since + Duration::from_mins(1) < around.now) {
                let what = format!(
                    "{key:?} lives, was held as {:?}, and left a table; the registry last removed it at {:?}, the disk is of {:?}, this process {} at {:?}",
                    endpoint.spec.held,
                    around.history.removed_at(&key),
                    self.disk_heard,
                    self.number,
                    self.view.position(),
                );
                return Violation::of(Property::P8, what);
            }
        }
        let routable = now.map_or(0, |service| service.routable.len());
        let chosen = pick(&Everybody(routable), &mut fastrand::Rng::with_seed(around.now.as_secs()));
        if chosen.is_some() != (routable > 0) {
            return Violation::of(
                Property::P9,
                format!("{name} has {routable} endpoints and {chosen:?} is chosen"),
            );
        }
        Ok(())
    }
}
