//! Leases: renewing them, and finding those that ran out.

use std::time::Duration;

use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, ServiceName, SourceState, limits};

use super::wheel::Turn;
use super::{Refusal, Store, seconds};

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Seconds that it lasts.
    pub ttl_s: u32,
}

/// A batch of renewals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchBeat {
    /// Handles without a lease.
    pub lost: Vec<u64>,
    /// How many were renewed.
    pub renewed: u64,
    /// The shortest lease among the renewed ones, in seconds.
    pub shortest_ttl_s: Option<u32>,
}

/// What a slice of the expiry work did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    /// The budget ran out before the work.
    pub more: bool,
    /// The state is another one.
    pub state_changed: bool,
}

/// What to do about a slot that the wheel named.
enum Verdict {
    Keep,
    Remove(RemovalReason),
}

impl Store {
    /// Renews the lease of `(service, id)` if `generation` holds it (`None`: whoever does).
    pub fn beat(
        &mut self,
        service: &str,
        id: &str,
        generation: Option<u64>,
        now: Duration,
    ) -> Result<Beat, Refusal> {
        let lease_ms = self.clock.observe(now);
        let slot = self.owned(service, id, generation)?;
        self.beat_slot(slot, lease_ms).ok_or(Refusal::Unknown)
    }

    /// Renews the leases of `[handle, generation]` pairs whose service `may` allows.
    pub fn beat_batch(
        &mut self,
        epoch: Epoch,
        leases: &[(u64, u64)],
        may: impl Fn(&ServiceName) -> bool,
        now: Duration,
    ) -> BatchBeat {
        let lease_ms = self.clock.observe(now);
        let mut batch = BatchBeat::default();
        for &(handle, generation) in leases {
            let slot = u32::try_from(handle).ok().filter(|_| epoch == self.epoch);
            let holds = |slot: &u32| {
                self.slots
                    .get(*slot)
                    .is_some_and(|h| h.instance.generation == generation && may(&h.instance.service))
            };
            match slot.filter(holds).and_then(|slot| self.beat_slot(slot, lease_ms)) {
                None => batch.lost.push(handle),
                Some(Beat { ttl_s }) => {
                    batch.renewed += 1;
                    batch.shortest_ttl_s = Some(batch.shortest_ttl_s.map_or(ttl_s, |s| s.min(ttl_s)));
                }
            }
        }
        batch
    }

    /// Never touches the wheel: a deadline that moves back is found when its old second comes.
    fn beat_slot(&mut self, slot: u32, lease_ms: u64) -> Option<Beat> {
        let held = self.slots.get_mut(slot)?;
        let ttl_s = held.instance.lease.ttl_s;
        held.beat_ms = lease_ms;
        held.deadline_ms = lease_ms + seconds(ttl_s) + seconds(limits::GRACE_S);
        Some(Beat { ttl_s })
    }

    /// Removes what ran out, in at most `budget` steps. To be called every [`super::TICK`].
    pub fn advance(&mut self, now: Duration, budget: usize) -> Advanced {
        let lease_ms = self.clock.observe(now);
        let mut advanced = Advanced::default();
        if self.state == SourceState::Warming && lease_ms >= self.warm_ms {
            self.state = SourceState::Serving;
            advanced.state_changed = true;
        }
        for _ in 0..budget {
            match self.wheel.turn(lease_ms / 1000) {
                Turn::Idle => return advanced,
                Turn::Look { slot, armed_s } if self.slots.armed_s(slot) == Some(armed_s) => {
                    self.slots.set_armed(slot, None);
                    self.look_at(slot, lease_ms);
                }
                // Another armed second: this entry was overtaken by an earlier one.
                Turn::Look { .. } | Turn::Step => {}
            }
        }
        advanced.more = true;
        advanced
    }

    fn look_at(&mut self, slot: u32, lease_ms: u64) {
        match self.judge(slot, lease_ms) {
            // A free slot is armed again when it is used again.
            None => {}
            Some(Verdict::Keep) => self.arm(slot),
            Some(Verdict::Remove(reason)) => {
                if reason == RemovalReason::Expired {
                    self.expired_total += 1;
                }
                self.remove(slot, reason);
            }
        }
    }

    fn judge(&self, slot: u32, lease_ms: u64) -> Option<Verdict> {
        let held = self.slots.get(slot)?;
        if held.drained_ms.is_some_and(|at| at <= lease_ms) {
            return Some(Verdict::Remove(RemovalReason::Drained));
        }
        let over = held.deadline_ms <= lease_ms && self.state != SourceState::Warming;
        Some(if over { Verdict::Remove(RemovalReason::Expired) } else { Verdict::Keep })
    }

    /// Makes sure that the wheel looks at `slot` no later than in the second after its deadline.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(held) = self.slots.get(slot) else { return };
        let mut due_ms = held.deadline_ms;
        if self.state == SourceState::Warming {
            due_ms = due_ms.max(self.warm_ms);
        }
        let due_ms = held.drained_ms.map_or(due_ms, |at| at.min(due_ms));
        // The second after, so that the deadline has passed for sure when it comes up.
        let due_s = due_ms / 1000 + 1;
        if self.slots.armed_s(slot).is_none_or(|armed_s| armed_s > due_s) {
            let armed_s = self.wheel.arm(slot, due_s);
            self.slots.set_armed(slot, Some(armed_s));
        }
    }
}
