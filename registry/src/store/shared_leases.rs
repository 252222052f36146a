//! Leases that are kept elsewhere, for several replicas: what is to be done about those that ran out. The rules are those of
//! [`super::preserve`]; what comes of them is counted when the change is followed.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::Instance;

use super::preserve::SharedPhase;
use super::{Refusal, Store};

/// A lease that was heard here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBeat {
    /// Seconds that it lasts.
    pub ttl_s: u32,
    /// Who holds it.
    pub generation: u64,
    /// It bears the mark of staleness, which is to be taken back.
    pub stale: bool,
}

/// What is to be done about leases that ran out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Of each, in their order, whether it goes; the others are marked stale.
    pub expires: Vec<bool>,
    /// What holds now.
    pub phase: SharedPhase,
    /// How many stale ones may go in a second.
    pub pace: usize,
}

impl Store {
    /// Time passes. To be called every [`super::TICK`], where [`Store::advance`] is not: a longer silence is a pause.
    pub fn observe(&mut self, now: Duration) {
        self.clock.observe(now);
    }

    /// As [`Store::beat`], but a mark of staleness stays: taking it back is a change, which is decided elsewhere.
    pub fn follow_beat(
        &mut self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<SharedBeat, Refusal> {
        let lease_ms = self.clock.observe(now);
        let slot = self.owned(service, id, generation)?;
        let held = self.slots.get_mut(slot).ok_or(Refusal::Unknown)?;
        held.beat_ms = lease_ms;
        let packed = &held.packed;
        Ok(SharedBeat { ttl_s: packed.ttl_s(), generation: packed.generation(), stale: packed.stale() })
    }

    /// Notes that what `slot` holds is stale, if it is.
    pub(super) fn follow_mark(&mut self, slot: u32, lease_ms: u64) {
        let Some(held) = self.slots.get(slot) else { return };
        if held.packed.stale() && self.slots.stale_ms(slot).is_none() {
            self.preservation.mark(slot, held.packed.zone(), lease_ms);
            self.slots.set_stale(slot, Some(lease_ms));
        }
    }

    /// Judges `overdue`, leases that ran out. `shared` is the phase that all replicas had before, `counting` how many were
    /// removed by all of them and still count.
    pub fn judge_shared(
        &mut self,
        shared: SharedPhase,
        overdue: &[Arc<Instance>],
        counting: usize,
        now: Duration,
    ) -> Judged {
        let lease_ms = self.clock.observe(now);
        self.preservation.adopt(shared, lease_ms);
        self.preservation.pass(lease_ms);
        let expires = if overdue.is_empty() {
            Vec::new()
        } else {
            let zones = overdue.iter().map(|instance| instance.zone.as_deref());
            self.preservation.may_expire_all(zones, counting, lease_ms)
        };
        Judged { expires, phase: self.preservation.shared(lease_ms), pace: self.preservation.pace() }
    }
}
