//! Following another holder of the truth: changes that were decided elsewhere are taken in as they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Position, ServiceName, SourceState};

use super::flapping::Quarantined;
use super::log::ChangeLog;
use super::{Change, Refusal, Registrant, Store};

impl Store {
    /// Everything is `instances` now, at `at`. The log starts there: watchers of earlier revisions take a snapshot. What
    /// is the same stays, with the time of its last heartbeat: the work is that of the differences.
    pub fn follow_reset(&mut self, at: Position, instances: Vec<Arc<Instance>>, now: Duration) {
        let lease_ms = self.clock.observe(now);
        let mut kept = BTreeSet::new();
        for instance in instances {
            match self.find(instance.service.as_str(), instance.instance_id.as_str()) {
                None => {
                    if let Some(slot) = self.take_in(&instance, lease_ms) {
                        self.follow_mark(slot, lease_ms);
                        kept.insert(slot);
                    }
                }
                Some(slot) => {
                    kept.insert(slot);
                    if let Some(before) = self.unpacked(slot).filter(|before| *before != *instance) {
                        self.replace(slot, &before, instance);
                        self.follow_mark(slot, lease_ms);
                    }
                }
            }
        }
        let slots = self.services.values().flat_map(|record| record.instances.iter());
        let gone: Vec<u32> = slots.filter(|slot| !kept.contains(slot)).collect();
        for slot in gone {
            self.remove(slot, RemovalReason::Removed);
        }
        self.epoch = at.epoch;
        self.log = ChangeLog::starting_at(at.revision, self.limits.log_entries, self.limits.log_bytes);
    }

    /// The instance is new or different. One revision.
    pub fn follow_upsert(&mut self, instance: Arc<Instance>, now: Duration) {
        let lease_ms = self.clock.observe(now);
        if let Some(slot) = self.find(instance.service.as_str(), instance.instance_id.as_str()) {
            let Some(before) = self.unpacked(slot) else { return };
            let stale = instance.stale;
            self.replace(slot, &before, instance);
            if stale {
                self.follow_mark(slot, lease_ms);
            } else {
                self.renew(slot, lease_ms);
            }
        } else if let Some(slot) = self.take_in(&instance, lease_ms) {
            self.follow_mark(slot, lease_ms);
            self.log.push(Change::Upsert(instance), self.digest);
        }
    }

    /// The instance is gone. One revision, also if it was not here.
    pub fn follow_remove(
        &mut self,
        service: &ServiceName,
        instance_id: &InstanceId,
        generation: u64,
        reason: RemovalReason,
        now: Duration,
    ) {
        let lease_ms = self.clock.observe(now);
        if reason == RemovalReason::Expired {
            self.expired_total += 1;
        }
        if let Some(slot) = self.find(service.as_str(), instance_id.as_str()) {
            let gone = self.slots.get(slot).map(|held| &held.packed);
            // A stale one is counted as long as it is there.
            if let Some(gone) = gone.filter(|gone| reason == RemovalReason::Expired && !gone.stale()) {
                self.preservation.expired(gone.zone(), gone.ttl_s(), lease_ms);
            }
            self.remove(slot, reason);
        } else {
            let (service, instance_id) = (service.clone(), instance_id.clone());
            self.log.push(Change::Remove { service, instance_id, generation, reason }, self.digest);
        }
    }

    /// From here on this is a history of its own: what follows happened here only.
    pub fn follow_alone(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// What the holder of the truth (or its absence) makes of this replica.
    pub fn follow_state(&mut self, state: SourceState) {
        self.state = state;
    }

    /// Whether a new instance of `service` by `by` is within the limits.
    pub fn admits(&self, service: &str, by: Registrant<'_>) -> Result<(), Refusal> {
        self.room_for(by)?;
        if self.slots.len() >= self.limits.instances {
            return Err(Refusal::Full { what: "instances", limit: self.limits.instances });
        }
        if !self.services.contains_key(service) && self.services.len() >= self.limits.services {
            return Err(Refusal::Full { what: "services", limit: self.limits.services });
        }
        Ok(())
    }

    /// Whether the record of `(service, id)` may be taken over now; a yes counts.
    pub fn admits_takeover(&mut self, service: &str, id: &str, now: Duration) -> Result<(), Refusal> {
        let lease_ms = self.clock.observe(now);
        let Some(slot) = self.find(service, id) else { return Ok(()) };
        let taken = self.flapping.take_over(slot, lease_ms);
        taken.map_err(|Quarantined { left, begins }| Refusal::Flapping { left, begins })
    }
}
