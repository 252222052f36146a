//! Reading: names, one service, all instances, figures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vertice_registry_api::{Instance, ServiceName, Status};

use super::{Packed, Store};

/// What the old read call shows of one service, with all its instances.
#[derive(Clone, Debug)]
pub struct View {
    /// The one that is shown; `None`: no instance is up.
    pub shown: Option<Shown>,
    /// All, in the order of their ids.
    pub instances: Vec<Arc<Instance>>,
}

/// The one instance that an old client sees.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its content.
    pub instance: Arc<Instance>,
    /// Since its last heartbeat or registration.
    pub since_beat: Duration,
    /// Whole seconds until the lease (without its grace) is over.
    pub ttl_remaining_s: i64,
}

/// Figures for metrics and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Live instances.
    pub instances: usize,
    /// Names with a live instance.
    pub services: usize,
    /// Leases that ran out since the start.
    pub expired_total: u64,
    /// Leases that ran out and are kept by self-preservation.
    pub stale: usize,
    /// Instances whose record is not given to anybody else for now.
    pub quarantined: usize,
}

impl Store {
    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Figures for metrics and health.
    pub fn stats(&self) -> Stats {
        Stats {
            instances: self.slots.len(),
            services: self.services.len(),
            expired_total: self.expired_total,
            stale: self.preservation.stale(),
            quarantined: self.flapping.count(self.clock.last_ms()),
        }
    }

    /// One service; `None` when it has no instance. Remembers which one it showed.
    pub fn view(&mut self, service: &str, now: Duration) -> Option<View> {
        let lease_ms = self.clock.observe(now);
        let record = self.services.get_mut(service)?;
        let slots = &self.slots;
        let is_up = |slot| slots.get(slot).is_some_and(|h| h.packed.effective_status() == Status::Up);
        let shown = record.show(is_up, |slot| slots.id(slot)).and_then(|slot| {
            let held = slots.get(slot)?;
            let since_beat = Duration::from_millis(lease_ms.saturating_sub(held.beat_ms));
            let ttl_s = i64::from(held.packed.ttl_s());
            let passed_s = i64::try_from(since_beat.as_secs()).unwrap_or(i64::MAX);
            Some(Shown {
                instance: Arc::new(held.packed.unpack()?),
                since_beat,
                ttl_remaining_s: ttl_s.saturating_sub(passed_s).max(0),
            })
        });
        let instances = record.instances.iter().filter_map(|slot| slots.get(slot)?.packed.unpack());
        Some(View { shown, instances: instances.map(Arc::new).collect() })
    }

    /// The instance `(service, id)`.
    pub fn get(&self, service: &str, id: &str) -> Option<Arc<Instance>> {
        self.held(service, id)?.unpack().map(Arc::new)
    }

    /// The instance `(service, id)` as it is held, for who wants to know little of it.
    pub fn held(&self, service: &str, id: &str) -> Option<&Packed> {
        Some(&self.slots.get(self.find(service, id)?)?.packed)
    }

    /// All instances of `services` (`None`: of all), sorted by service and id.
    pub fn rows(&self, services: Option<&BTreeSet<String>>) -> Vec<Packed> {
        let mut rows = Vec::with_capacity(if services.is_none() { self.slots.len() } else { 0 });
        let mut add = |record: &super::ServiceRecord| {
            let held = record.instances.iter().filter_map(|slot| self.slots.get(slot));
            rows.extend(held.map(|h| h.packed.clone()));
        };
        match services {
            None => self.services.values().for_each(&mut add),
            Some(names) => {
                names.iter().filter_map(|name| self.services.get(name.as_str())).for_each(&mut add);
            }
        }
        rows
    }

    /// All instances, unpacked: for few.
    pub fn instances(&self) -> Vec<Instance> {
        self.rows(None).iter().filter_map(Packed::unpack).collect()
    }

    pub(super) fn unpacked(&self, slot: u32) -> Option<Instance> {
        self.slots.get(slot)?.packed.unpack()
    }
}
