//! Registering: who wins, what is new, what is only a renewal.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::register::Registration;
use vertice_registry_api::{Instance, Lease, Status, limits};

use super::flapping::Quarantined;
use super::{Change, Refusal, Store};

/// Who registers.
#[derive(Clone, Copy, Debug)]
pub struct Registrant<'a> {
    /// The principal.
    pub name: &'a str,
    /// Whether the limit per principal applies to it; it cannot where all share one token.
    pub limited: bool,
}

/// What a registration led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Wanted by everything that the owner does later.
    pub generation: u64,
    /// Short name for batches of heartbeats.
    pub handle: u64,
    /// Seconds that the lease lasts.
    pub ttl_s: u32,
    /// Whether nothing was there before.
    pub created: bool,
    /// Whether there is a new revision.
    pub changed: bool,
}

impl Store {
    /// Takes `wanted` in. A newer incarnation takes the record over, an older one is refused, an equal one updates its
    /// own; the same content is a renewal. Incarnation 0 says nothing about age: other content takes over.
    pub fn register(
        &mut self,
        mut wanted: Registration,
        by: Registrant<'_>,
        now: Duration,
        unix_ms: u64,
    ) -> Result<Registered, Refusal> {
        let lease_ms = self.clock.observe(now);
        if wanted.instance_id.is_legacy() {
            // Old clients have no incarnation; one that is sent with this id must not lock them out.
            wanted.incarnation = 0;
        }
        let ttl_s = wanted.ttl_s.unwrap_or(limits::DEFAULT_TTL_S);
        let (slot, created, mut changed) =
            match self.find(wanted.service.as_str(), wanted.instance_id.as_str()) {
                None => (self.insert(wanted, by, ttl_s, lease_ms, unix_ms)?, true, true),
                Some(slot) => (slot, false, self.reregister(slot, wanted, by, ttl_s, (lease_ms, unix_ms))?),
            };
        changed |= self.renew(slot, lease_ms);
        let generation = self.slots.get(slot).ok_or(Refusal::Unknown)?.packed.generation();
        Ok(Registered { generation, handle: slot.into(), ttl_s, created, changed })
    }

    fn insert(
        &mut self,
        wanted: Registration,
        by: Registrant<'_>,
        ttl_s: u32,
        lease_ms: u64,
        unix_ms: u64,
    ) -> Result<u32, Refusal> {
        self.room_for(by)?;
        if self.slots.len() >= self.limits.instances {
            return Err(Refusal::Full { what: "instances", limit: self.limits.instances });
        }
        if self.services.len() >= self.limits.services && !self.services.contains_key(wanted.service.as_str())
        {
            return Err(Refusal::Full { what: "services", limit: self.limits.services });
        }
        let generation = self.draw_generation();
        let content = Arc::new(content(wanted, generation, ttl_s, by.name, unix_ms));
        let full = Refusal::Full { what: "instances", limit: self.limits.instances };
        let slot = self.take_in(&content, lease_ms).ok_or(full)?;
        self.log.push(Change::Upsert(content), self.digest);
        Ok(slot)
    }

    /// Whether there was anything to change.
    fn reregister(
        &mut self,
        slot: u32,
        wanted: Registration,
        by: Registrant<'_>,
        ttl_s: u32,
        (lease_ms, unix_ms): (u64, u64),
    ) -> Result<bool, Refusal> {
        let before = self.unpacked(slot).ok_or(Refusal::Unknown)?;
        if wanted.incarnation < before.incarnation {
            return Err(Refusal::OlderIncarnation { held: before.incarnation });
        }
        let newer = wanted.incarnation > before.incarnation;
        let mut after = content(wanted, before.generation, ttl_s, by.name, before.registered_at_ms);
        // An operator's word outlives the process that it was about, until the record goes.
        after.status_override = before.status_override;
        // Nor is being stale content of the registrant's; a renewal takes it back.
        after.stale = before.stale;
        if !newer && after == before {
            return Ok(false);
        }
        if *before.registered_by != *by.name {
            self.room_for(by)?;
        }
        // Without incarnations, other labels at the same place are the same process.
        if newer || after.incarnation == 0 && after.url != before.url {
            let taken = self.flapping.take_over(slot, lease_ms);
            taken.map_err(|Quarantined { left, begins }| Refusal::Flapping { left, begins })?;
        }
        if newer || after.incarnation == 0 {
            after.generation = self.draw_generation();
            after.registered_at_ms = unix_ms;
        }
        if after.status != Status::Draining {
            self.slots.set_drained(slot, None);
        }
        after.stale = false;
        self.replace(slot, &before, Arc::new(after));
        Ok(true)
    }

    pub(super) fn room_for(&self, by: Registrant<'_>) -> Result<(), Refusal> {
        let limit = self.limits.instances_per_principal;
        let has = self.principals.get(by.name).copied().unwrap_or(0);
        if by.limited && has >= limit {
            return Err(Refusal::Full { what: "instances of one principal", limit });
        }
        Ok(())
    }

    /// Gives `slot` a full lease from now on and makes sure that the wheel looks at it in time.
    /// Whether that made a revision, because it was stale.
    pub(super) fn renew(&mut self, slot: u32, lease_ms: u64) -> bool {
        let Some(held) = self.slots.get_mut(slot) else { return false };
        held.beat_ms = lease_ms;
        let freshened = self.freshen(slot);
        self.arm(slot);
        freshened
    }
}

fn content(wanted: Registration, generation: u64, ttl_s: u32, by: &str, registered_at_ms: u64) -> Instance {
    Instance {
        service: wanted.service,
        instance_id: wanted.instance_id,
        incarnation: wanted.incarnation,
        generation,
        url: wanted.url,
        health_endpoint: wanted.health_endpoint,
        metadata: wanted.metadata,
        zone: wanted.zone.map(Arc::from),
        weight: wanted.weight,
        version: wanted.version.map(Arc::from),
        status: wanted.status,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s },
        registered_at_ms,
        registered_by: Arc::from(by),
    }
}
