//! Leases with their ages, for operators.

use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::Instance;

use super::slots::Held;
use super::{Store, preserve};

/// An instance with what its lease is like now.
#[derive(Clone, Debug)]
pub struct LeaseView {
    /// Its content.
    pub instance: Arc<Instance>,
    /// Since its last heartbeat or registration.
    pub since_beat: Duration,
    /// Until it expires, the grace included; zero when it has run out.
    pub expires_in: Duration,
    /// Since when it is stale.
    pub stale_for: Option<Duration>,
    /// Until draining ends.
    pub drains_in: Option<Duration>,
    /// Until it may be taken over again.
    pub quarantined_for: Option<Duration>,
}

impl Store {
    /// The first `limit` leases (of `service`; `None`: of all), sorted, and how many there are.
    pub fn leases(&mut self, service: Option<&str>, limit: usize, now: Duration) -> (Vec<LeaseView>, usize) {
        let lease_ms = self.clock.observe(now);
        let records: Box<dyn Iterator<Item = _>> = match service {
            None => Box::new(self.services.values()),
            Some(name) => Box::new(self.services.get(name).into_iter()),
        };
        let total = match service {
            None => self.slots.len(),
            Some(name) => self.services.get(name).map_or(0, |record| record.instances.len()),
        };
        let slots = records.flat_map(|record| record.instances.iter()).take(limit);
        let view = |slot: u32| self.view_lease(slot, self.slots.get(slot)?, lease_ms);
        (slots.filter_map(view).collect(), total)
    }

    fn view_lease(&self, slot: u32, held: &Held, lease_ms: u64) -> Option<LeaseView> {
        let until = |at_ms: u64| Duration::from_millis(at_ms.saturating_sub(lease_ms));
        Some(LeaseView {
            instance: Arc::new(held.packed.unpack()?),
            since_beat: preserve::age(held.beat_ms, lease_ms),
            expires_in: until(held.deadline_ms()),
            stale_for: self.slots.stale_ms(slot).map(|since_ms| preserve::age(since_ms, lease_ms)),
            drains_in: self.slots.drained_ms(slot).map(until),
            quarantined_for: self.flapping.left(slot, lease_ms),
        })
    }
}
