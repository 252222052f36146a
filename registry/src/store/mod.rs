//! The registry's state, pure: no I/O, no clock, no randomness. `now` is the monotonic time since the process started
//! observing, `unix_ms` the wall clock for people; both are arguments.
//!
//! A change makes a revision, goes into the log and moves the digest. A heartbeat does none of this.

mod clock;
mod wheel;
mod log;
mod slots;
mod texts;
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

pub use change::Patch;
pub use clock::TICK;
pub use lease::{Advanced, BatchBeat, Beat};
pub use leases::LeaseView;
pub use log::{Change, Delta};
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
use texts::Texts;
use wheel::Wheel;

/// How much one store takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Instances in all: bounds memory (a common one takes about 400 bytes here).
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
    texts: Texts,
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
            texts: Texts::default(),
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
        self.services.get(service)?.instances.get(id).copied()
    }

    /// The slot of `(service, id)` if `generation` is the one that holds it. `None`: whoever holds it.
    fn owned(&self, service: &str, id: &str, generation: Option<u64>) -> Result<u32, Refusal> {
        let slot = self.find(service, id).ok_or(Refusal::Unknown)?;
        let held = self.slots.get(slot).ok_or(Refusal::Unknown)?.instance.generation;
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

    /// Puts different content into a slot that holds an instance.
    fn replace(&mut self, slot: u32, mut content: Instance) {
        self.texts.share(&mut content);
        let Some(held) = self.slots.get_mut(slot) else { return };
        let content = Arc::new(content);
        let before = std::mem::replace(&mut held.instance, content.clone());
        let was_stale_ms = if content.stale { None } else { held.stale_ms.take() };
        if let Some(since_ms) = was_stale_ms {
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
        self.digest.remove(&before);
        self.digest.add(&content);
        self.log.push(Change::Upsert(content), self.digest);
    }

    fn remove(&mut self, slot: u32, reason: RemovalReason) {
        let Some(Held { instance, stale_ms, .. }) = self.slots.remove(slot) else { return };
        if let Some(since_ms) = stale_ms {
            self.preservation.unmark(slot, instance.zone.as_deref(), since_ms);
        }
        self.preservation.leave(instance.zone.as_deref());
        self.flapping.forget(slot);
        if let Some(record) = self.services.get_mut(&instance.service) {
            record.instances.remove(&instance.instance_id);
            if record.instances.is_empty() {
                self.services.remove(&instance.service);
            }
        }
        count_down(&mut self.principals, &instance.registered_by);
        self.digest.remove(&instance);
        let (service, instance_id) = (instance.service.clone(), instance.instance_id.clone());
        let change = Change::Remove { service, instance_id, generation: instance.generation, reason };
        self.log.push(change, self.digest);
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
