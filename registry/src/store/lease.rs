//! Leases: renewing them, and finding those that ran out.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, ServiceName, SourceState};

use super::wheel::Turn;
use super::{Refusal, Store, preserve};

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
    /// As stale.
    Mark,
    Expire,
    EndDraining,
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
                    .is_some_and(|h| h.packed.generation() == generation && may(h.packed.service()))
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

    /// Never touches the wheel (unless it was stale): a deadline that moves back is found when its old second comes.
    fn beat_slot(&mut self, slot: u32, lease_ms: u64) -> Option<Beat> {
        let held = self.slots.get_mut(slot)?;
        let ttl_s = held.packed.ttl_s();
        held.beat_ms = lease_ms;
        if self.freshen(slot) {
            self.arm(slot);
        }
        Some(Beat { ttl_s })
    }

    /// Takes the mark of staleness back; whether there was one, which is a change.
    pub(super) fn freshen(&mut self, slot: u32) -> bool {
        if !self.slots.get(slot).is_some_and(|held| held.packed.stale()) {
            return false;
        }
        let Some(stale) = self.unpacked(slot) else { return false };
        let fresh = Arc::new(Instance { stale: false, ..stale.clone() });
        self.replace(slot, &stale, fresh);
        true
    }

    /// Marks an expired lease instead of removing it.
    fn go_stale(&mut self, slot: u32, lease_ms: u64) {
        let Some(before) = self.unpacked(slot) else { return };
        self.slots.set_stale(slot, Some(lease_ms));
        self.preservation.mark(slot, before.zone.as_deref(), lease_ms);
        let stale = Arc::new(Instance { stale: true, ..before.clone() });
        self.replace(slot, &before, stale);
        // Only a deadline of draining is left for the wheel.
        self.arm(slot);
    }

    /// Removes a stale lease that somebody proved dead; whether it was stale and of that generation.
    pub fn proven_dead(&mut self, service: &str, id: &str, generation: u64, now: Duration) -> bool {
        self.clock.observe(now);
        let slot = self.owned(service, id, Some(generation)).ok();
        let stale = slot.filter(|slot| self.slots.get(*slot).is_some_and(|held| held.packed.stale()));
        if let Some(slot) = stale {
            self.expire(slot);
        }
        stale.is_some()
    }

    /// An operator ends self-preservation: what is stale goes, at its bounded rate. Whether there was anything to end.
    pub fn release(&mut self) -> bool {
        let ended = self.preservation.release();
        self.settle_state();
        ended
    }

    /// How long self-preservation has lasted; `None`: it is not on.
    pub fn preserving_for(&mut self, now: Duration) -> Option<Duration> {
        let lease_ms = self.clock.observe(now);
        self.preservation.since_ms().map(|since_ms| preserve::age(since_ms, lease_ms))
    }

    fn settle_state(&mut self) -> bool {
        let state = match (self.state, self.preservation.since_ms()) {
            (SourceState::Warming, _) => SourceState::Warming,
            (_, Some(_)) => SourceState::Preserving,
            (_, None) => SourceState::Serving,
        };
        let changed = self.state != state;
        self.state = state;
        changed
    }

    /// Removes what ran out, in at most `budget` steps. To be called every [`super::TICK`].
    pub fn advance(&mut self, now: Duration, budget: usize) -> Advanced {
        let lease_ms = self.clock.observe(now);
        let mut advanced = Advanced::default();
        self.preservation.pass(lease_ms);
        self.flapping.pass(lease_ms);
        if self.state == SourceState::Warming && lease_ms >= self.warm_ms {
            self.state = SourceState::Serving;
            self.preservation.warmed(lease_ms);
            advanced.state_changed = true;
        }
        advanced.more = !self.spend(lease_ms, budget);
        advanced.state_changed |= self.settle_state();
        advanced
    }

    /// Does the work that is due, in at most `budget` steps; whether all of it is done.
    fn spend(&mut self, lease_ms: u64, budget: usize) -> bool {
        for _ in 0..budget {
            match self.wheel.turn(lease_ms / 1000) {
                Turn::Idle => match self.overdue(lease_ms) {
                    Some(slot) => self.expire(slot),
                    None => return true,
                },
                Turn::Look { slot, armed_s } if self.slots.armed_s(slot) == Some(armed_s) => {
                    self.slots.set_armed(slot, None);
                    self.look_at(slot, lease_ms);
                }
                // Another armed second: this entry was overtaken by an earlier one.
                Turn::Look { .. } | Turn::Step => {}
            }
        }
        false
    }

    /// A stale lease whose time is over.
    fn overdue(&mut self, lease_ms: u64) -> Option<u32> {
        if self.state == SourceState::Warming {
            return None;
        }
        self.preservation.overdue(lease_ms)
    }

    fn expire(&mut self, slot: u32) {
        self.expired_total += 1;
        self.remove(slot, RemovalReason::Expired);
    }

    fn look_at(&mut self, slot: u32, lease_ms: u64) {
        match self.judge(slot, lease_ms) {
            // A free slot is armed again when it is used again.
            None => {}
            Some(Verdict::Keep) => self.arm(slot),
            Some(Verdict::Mark) => self.go_stale(slot, lease_ms),
            Some(Verdict::Expire) => self.expire(slot),
            Some(Verdict::EndDraining) => self.remove(slot, RemovalReason::Drained),
        }
    }

    fn judge(&mut self, slot: u32, lease_ms: u64) -> Option<Verdict> {
        let held = self.slots.get(slot)?;
        if self.slots.drained_ms(slot).is_some_and(|at| at <= lease_ms) {
            return Some(Verdict::EndDraining);
        }
        let over = held.deadline_ms() <= lease_ms && self.state != SourceState::Warming;
        if !over || held.packed.stale() {
            return Some(Verdict::Keep);
        }
        let (zone, ttl_s) = (held.packed.zone(), held.packed.ttl_s());
        let may = self.preservation.may_expire(zone, ttl_s, lease_ms);
        Some(if may { Verdict::Expire } else { Verdict::Mark })
    }

    /// Makes sure that the wheel looks at `slot` no later than in the second after its deadline.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(held) = self.slots.get(slot) else { return };
        let mut expires_ms = held.deadline_ms();
        if self.state == SourceState::Warming {
            expires_ms = expires_ms.max(self.warm_ms);
        }
        // A stale lease has run out already; preservation has it on its own list.
        let expires_ms = Some(expires_ms).filter(|_| !held.packed.stale());
        let Some(due_ms) = self.slots.drained_ms(slot).into_iter().chain(expires_ms).min() else { return };
        // The second after, so that the deadline has passed for sure when it comes up.
        let due_s = due_ms / 1000 + 1;
        if self.slots.armed_s(slot).is_none_or(|armed_s| armed_s > due_s) {
            let armed_s = self.wheel.arm(slot, due_s);
            self.slots.set_armed(slot, Some(armed_s));
        }
    }
}
