//! What an owner (or an operator) changes about a registered instance, and deregistering.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::Status;
use vertice_registry_api::watch::RemovalReason;

use super::{Refusal, Store, seconds};

/// A change of some fields; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// The owner's word.
    pub status: Option<Status>,
    /// Its share.
    pub weight: Option<u16>,
    /// The operator's word; `Some(None)` takes it back.
    pub status_override: Option<Option<Status>>,
    /// With status draining: seconds after which it is removed as drained.
    pub deadline_s: Option<u32>,
}

impl Store {
    /// Applies `patch` if `generation` holds the record (`None`: whoever does). Returns the generation.
    pub fn patch(
        &mut self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        patch: &Patch,
        now: Duration,
    ) -> Result<u64, Refusal> {
        let lease_ms = self.clock.observe(now);
        let slot = self.owned(service, id, generation)?;
        let before = self.unpacked(slot).ok_or(Refusal::Unknown)?;
        let mut after = before.clone();
        after.status = patch.status.unwrap_or(after.status);
        after.weight = patch.weight.unwrap_or(after.weight);
        after.status_override = patch.status_override.unwrap_or(after.status_override);
        if let Some(status) = patch.status {
            let deadline_s = patch.deadline_s.filter(|_| status == Status::Draining);
            self.slots.set_drained(slot, deadline_s.map(|s| lease_ms + seconds(s)));
        }
        let generation = after.generation;
        if after != before {
            self.replace(slot, &before, Arc::new(after));
        }
        self.arm(slot);
        Ok(generation)
    }

    /// An operator removes the record if `generation` holds it (`None`: whoever does). Whether anything was there.
    pub fn remove_by_operator(
        &mut self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<bool, Refusal> {
        self.clock.observe(now);
        match self.owned(service, id, generation) {
            Ok(slot) => self.remove(slot, RemovalReason::Removed),
            Err(Refusal::Unknown) => return Ok(false),
            Err(refusal) => return Err(refusal),
        }
        Ok(true)
    }

    /// Removes the record if `generation` holds it (`None`: whoever does). Whether anything was there.
    pub fn deregister(
        &mut self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<bool, Refusal> {
        self.clock.observe(now);
        let slot = match self.owned(service, id, generation) {
            Ok(slot) => slot,
            Err(Refusal::Unknown) => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        let draining = self.slots.get(slot).is_some_and(|h| h.packed.status() == Status::Draining);
        self.remove(slot, if draining { RemovalReason::Drained } else { RemovalReason::Deregistered });
        Ok(true)
    }
}
