//! The registry's state, pure: no I/O, no clock, no randomness. `now` is the monotonic time since the process started
//! observing, `unix_ms` the wall clock for people; both are arguments.
//!
//! A change makes a revision, goes into the log and moves the digest. A heartbeat does none of this.

mod clock;
mod wheel;
mod log;
mod bytes;
mod kind;
mod packed;
mod slots;
mod order;
mod service;
mod register;
mod change;
mod preserve;
mod flapping;
mod lease;
mod read;
mod restore;
mod leases;
mod follow;
mod shared_leases;
pub mod acks;
pub mod rejects;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod preserve_tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, Position, Revision, ServiceName, SourceState, limits};

pub(crate) use bytes::Bytes;
pub use change::Patch;
pub use clock::TICK;
pub(crate) use kind::{Kind, Kinds};
pub use lease::{Advanced, BatchBeat, Beat};
pub use leases::LeaseView;
pub use log::{Change, Delta};
pub use packed::Packed;
pub(crate) use packed::put_own;
pub use preserve::{LONGEST_STALE, SharedPhase};
pub use read::{Shown, Stats, View};
pub use register::{Registered, Registrant};
pub use shared_leases::{Judged, SharedBeat};

use clock::{LeaseClock, millis};
use flapping::Flapping;
use log::ChangeLog;
use preserve::Preservation;
use service::ServiceRecord;
use slots::{Held, Slots};
use wheel::Wheel;

/// How much one store takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Instances in all: bounds memory (a common one takes about 200 bytes here).
    pub instances: usize,
    /// Instances that one principal may have registered: one broken client must not fill the registry.
    pub instances_per_principal: usize,
    /// Names in all.
    pub services: usize,
    /// Changes in the log: a watcher that is further behind takes a snapshot.
    pub log_entries: usize,
    /// Bytes of the log.
    pub log_bytes: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            instances: 1_000_000,
            instances_per_principal: 100_000,
            services: 100_000,
            log_entries: 65_536,
            log_bytes: 32 * 1024 * 1024,
        }
    }
}

/// Why a write changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A newer start of the same instance holds the name.
    OlderIncarnation {
        /// The holder's.
        held: u64,
    },
    /// The generation was taken over.
    OldGeneration,
    /// It was taken over too often: who holds it keeps it for a while.
    Flapping {
        /// How long.
        left: Duration,
        /// This attempt began it.
        begins: bool,
    },
    /// Nothing is registered there.
    Unknown,
    /// A limit is reached.
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
}

/// All instances with their leases and the history of their changes.
#[derive(Debug)]
pub struct Store {
    limits: StoreLimits,
    epoch: Epoch,
    digest: SetDigest,
    next_generation: u64,
    services: BTreeMap<ServiceName, ServiceRecord>,
    slots: Slots,
    kinds: Kinds,
    /// How many instances each principal has.
    principals: BTreeMap<String, usize>,
    log: ChangeLog,
    clock: LeaseClock,
    wheel: Wheel,
    preservation: Preservation,
    flapping: Flapping,
    /// Lease time, in milliseconds, before which no lease expires.
    warm_ms: u64,
    state: SourceState,
    expired_total: u64,
}

impl Store {
    /// An empty store. Generations start at `first_generation`: one that is higher than any an earlier process gave
    /// keeps late messages of that time from meaning anything now.
    pub fn new(limits: StoreLimits, epoch: Epoch, first_generation: u64, now: Duration) -> Self {
        let mut clock = LeaseClock::new(now);
        let lease_ms = clock.observe(now);
        Self {
            limits,
            epoch,
            digest: SetDigest::default(),
            next_generation: first_generation,
            services: BTreeMap::new(),
            slots: Slots::default(),
            kinds: Kinds::default(),
            principals: BTreeMap::new(),
            log: ChangeLog::new(limits.log_entries, limits.log_bytes),
            clock,
            wheel: Wheel::new(lease_ms / 1000),
            preservation: Preservation::new(),
            flapping: Flapping::default(),
            warm_ms: lease_ms + seconds(limits::DEFAULT_TTL_S) + seconds(limits::GRACE_S),
            state: SourceState::Warming,
            expired_total: 0,
        }
    }

    /// Where in history the store is.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, revision: self.log.last() }
    }

    /// What the store says of itself.
    pub fn state(&self) -> SourceState {
        self.state
    }

    /// Of all instances.
    pub fn digest(&self) -> SetDigest {
        self.digest
    }

    /// The oldest revision that a watch can start from.
    pub fn oldest(&self) -> Revision {
        self.log.oldest()
    }

    /// What came after `from`, about `max_bytes` of it at most; `None` when the log does not reach back (or ahead).
    pub fn since(&self, from: Position, max_bytes: usize) -> Option<Delta> {
        if from.epoch != self.epoch {
            return None;
        }
        self.log.since(from.revision, max_bytes, self.digest)
    }

    fn find(&self, service: &str, id: &str) -> Option<u32> {
        self.services.get(service)?.instances.get(id.as_bytes(), |slot| self.slots.id(slot))
    }

    /// The slot of `(service, id)` if `generation` is the one that holds it. `None`: whoever holds it.
    fn owned(&self, service: &str, id: &str, generation: Option<u64>) -> Result<u32, Refusal> {
        let slot = self.find(service, id).ok_or(Refusal::Unknown)?;
        let held = self.slots.get(slot).ok_or(Refusal::Unknown)?.packed.generation();
        match generation {
            // One that was never given out: another life of this registry gave it, so that lease is unknown here.
            Some(wanted) if wanted > held => Err(Refusal::Unknown),
            Some(wanted) if wanted < held => Err(Refusal::OldGeneration),
            _ => Ok(slot),
        }
    }

    fn draw_generation(&mut self) -> u64 {
        let drawn = self.next_generation;
        self.next_generation += 1;
        drawn
    }

    /// Puts different content into a slot that holds `before`.
    fn replace(&mut self, slot: u32, before: &Instance, content: Arc<Instance>) {
        let packed = self.kinds.pack(&content);
        let Some(held) = self.slots.get_mut(slot) else { return };
        held.packed = packed;
        if !content.stale
            && let Some(since_ms) = self.slots.stale_ms(slot)
        {
            self.slots.set_stale(slot, None);
            self.preservation.unmark(slot, before.zone.as_deref(), since_ms);
        }
        if before.zone != content.zone {
            self.preservation.leave(before.zone.as_deref());
            self.preservation.enter(content.zone.as_deref());
        }
        if before.registered_by != content.registered_by {
            count_down(&mut self.principals, &before.registered_by);
            count_up(&mut self.principals, &content.registered_by);
        }
        self.digest.remove(before);
        self.digest.add(&content);
        self.log.push(Change::Upsert(content), self.digest);
    }

    /// Puts `instance` into a slot of its own, without a revision; `None` beyond 2^32.
    fn take_in(&mut self, instance: &Instance, lease_ms: u64) -> Option<u32> {
        let packed = self.kinds.pack(instance);
        let slot = self.slots.insert(Held { packed, beat_ms: lease_ms })?;
        self.move_in(slot);
        self.digest.add(instance);
        Some(slot)
    }

    /// Makes an instance that is in its slot known to the index and to those who count.
    fn move_in(&mut self, slot: u32) {
        let Some(held) = self.slots.get(slot) else { return };
        let packed = &held.packed;
        let id_of = |slot| self.slots.id(slot);
        if let Some(record) = self.services.get_mut(packed.service()) {
            record.instances.insert(slot, id_of);
        } else {
            let mut record = ServiceRecord::default();
            record.instances.insert(slot, id_of);
            self.services.insert(packed.service().clone(), record);
        }
        count_up(&mut self.principals, packed.registered_by());
        self.preservation.enter(packed.zone());
    }

    fn remove(&mut self, slot: u32, reason: RemovalReason) {
        let Some(held) = self.slots.get(slot) else { return };
        let Some(instance) = held.packed.unpack() else { return };
        if let Some(record) = self.services.get_mut(&instance.service) {
            record.instances.remove(instance.instance_id.as_str().as_bytes(), |slot| self.slots.id(slot));
            if record.instances.len() == 0 {
                self.services.remove(&instance.service);
            }
        }
        if let Some(since_ms) = self.slots.stale_ms(slot) {
            self.preservation.unmark(slot, instance.zone.as_deref(), since_ms);
        }
        self.slots.remove(slot);
        self.preservation.leave(instance.zone.as_deref());
        self.flapping.forget(slot);
        count_down(&mut self.principals, &instance.registered_by);
        self.digest.remove(&instance);
        let Instance { service, instance_id, generation, .. } = instance;
        self.log.push(Change::Remove { service, instance_id, generation, reason }, self.digest);
    }
}

fn count_up(counts: &mut BTreeMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

fn count_down(counts: &mut BTreeMap<String, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// Whole seconds in milliseconds.
fn seconds(s: u32) -> u64 {
    millis(Duration::from_secs(s.into()))
}
