//! What the harness knows by itself about a registry: who was heard when, what happened in which order. It is compared
//! with what the registry does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_registry::store::{Change, Store, TICK};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Position, Revision, ServiceName, SourceState};

use super::history::History;
use super::network::Peer;
use super::property::{Property, Violation};
use super::registry::Restart;

pub type Key = (ServiceName, InstanceId);

pub fn key_of(instance: &Instance) -> Key {
    (instance.service.clone(), instance.instance_id.clone())
}

/// One lease as the harness sees it; times are of the registry's own running.
#[derive(Clone, Copy, Debug)]
struct Lease {
    generation: u64,
    ttl: Duration,
    heard: Duration,
    stale_since: Option<Duration>,
}

/// A stale lease lasts so long, then goes at a bounded rate.
const LONGEST_STALE: Duration = Duration::from_mins(10);
const LONGEST_PRESERVATION: Duration = Duration::from_mins(15);
/// What a bound may be late by: a bucket of a second, and a tick.
const BUCKET: Duration = Duration::from_millis(2_100);
/// `limits::GRACE_S`, which `P2` and `P3` are held against.
const GRACE: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct Truth {
    /// Where the history was written down to.
    seen: Option<Position>,
    pub history: History,
    leases: BTreeMap<Key, Lease>,
    owners: BTreeMap<Key, String>,
    /// The highest generation of each in this epoch.
    generations: BTreeMap<Key, u64>,
    /// By gateway: its process, and what that applied.
    acks: BTreeMap<usize, (u64, Revision)>,
    /// Time in which the process ran, by the time since its start.
    ran: Duration,
    last: Duration,
    second: u64,
    warm_since: Option<Duration>,
    preserves_since: Option<Duration>,
}

impl Truth {
    /// A process began with `store`.
    pub fn began(&mut self, store: &Store, how: Restart) {
        let (ran, last) = (Duration::ZERO, Duration::ZERO);
        let position = store.position();
        let same = self.seen.is_some_and(|seen| seen.epoch == position.epoch);
        let history = std::mem::take(&mut self.history);
        let generations = if same { std::mem::take(&mut self.generations) } else { BTreeMap::new() };
        let seen = if same { self.seen } else { Some(position) };
        *self = Self { seen, history, generations, ran, last, ..Self::default() };
        if how != Restart::Empty {
            for instance in store.instances() {
                self.put(&instance);
                self.granted(&key_of(&instance), instance.generation, instance.lease.ttl_s);
                if let Some(lease) = self.leases.get_mut(&key_of(&instance)) {
                    lease.stale_since = instance.stale.then_some(ran);
                }
            }
        }
        self.history.began(position, store.digest());
    }

    /// `at`: since the start of the process.
    pub fn observe(&mut self, at: Duration) {
        let gap = at.saturating_sub(self.last);
        self.ran += if gap > Duration::from_secs(1) { TICK } else { gap };
        self.last = self.last.max(at);
    }

    /// Whether another second has begun since this was asked.
    pub fn is_new_second(&mut self) -> bool {
        let before = std::mem::replace(&mut self.second, self.ran.as_secs());
        before != self.second
    }

    fn put(&mut self, instance: &Instance) {
        let key = key_of(instance);
        self.generations.insert(key.clone(), instance.generation);
        self.owners.insert(key, instance.registered_by.to_string());
    }

    pub fn granted(&mut self, key: &Key, generation: u64, ttl_s: u32) {
        let stale_since = None;
        let ttl = Duration::from_secs(ttl_s.into());
        self.leases.insert(key.clone(), Lease { generation, ttl, heard: self.ran, stale_since });
    }

    pub fn beat(&mut self, service: &str, id: &str) {
        let Some(key) = parse(service, id) else { return };
        if let Some(lease) = self.leases.get_mut(&key) {
            lease.heard = self.ran;
        }
    }

    /// The generation that holds the record.
    pub fn held(store: &Store, service: &str, id: &str) -> Option<u64> {
        store.get(service, id).map(|instance| instance.generation)
    }

    /// P5: a message of an old holder changes nothing.
    pub fn judge(held: Option<u64>, named: u64, done: bool, what: &str) -> Result<(), Violation> {
        match held {
            Some(held) if done && named < held => Violation::of(
                Property::P5,
                format!("{what} of generation {named} was accepted, {held} holds"),
            ),
            _ => Ok(()),
        }
    }

    pub fn acked(&mut self, gateway: usize, process: u64, revision: Revision) {
        let acked = self.acks.entry(gateway).or_insert((process, revision));
        *acked = if acked.0 == process { (process, acked.1.max(revision)) } else { (process, revision) };
    }

    /// Who said that it has applied `revision`: gateways with their processes.
    pub fn applied(&self, revision: Revision) -> BTreeSet<(usize, u64)> {
        let applied = self.acks.iter().filter(|(_, (_, acked))| *acked >= revision);
        applied.map(|(gateway, (process, _))| (*gateway, *process)).collect()
    }

    /// Whether self-preservation was on when last looked at.
    pub fn preserves(&self) -> bool {
        self.preserves_since.is_some()
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.seen.map(|seen| seen.epoch)
    }

    /// Writes down what happened since the last time; `by`: whose message did it.
    pub fn record(&mut self, store: &Store, now: Duration, by: Option<Peer>) -> Result<(), Violation> {
        let position = store.position();
        let mut seen = self.seen.unwrap_or(position);
        if position.epoch == seen.epoch && position.revision < seen.revision {
            let what = format!("revision {} after {} in one epoch", position.revision, seen.revision);
            return Violation::of(Property::P6, what);
        }
        while seen != position {
            let Some(delta) = store.since(seen, 1) else {
                return Violation::of(Property::P6, format!("the log does not go on after {seen}"));
            };
            seen.revision = delta.to;
            self.history.began(seen, delta.digest);
            for change in &delta.changes {
                self.take(change, now, by)?;
            }
        }
        self.seen = Some(seen);
        Ok(())
    }

    fn take(&mut self, change: &Change, now: Duration, by: Option<Peer>) -> Result<(), Violation> {
        match change {
            Change::Upsert(instance) => {
                let key = key_of(instance);
                self.check_owner(&key, by)?;
                let before = self.generations.get(&key).copied().unwrap_or(0);
                if instance.generation < before {
                    let what = format!("{key:?}: generation {} after {before}", instance.generation);
                    return Violation::of(Property::P5, what);
                }
                self.put(instance);
                let was = self.leases.get(&key).and_then(|lease| lease.stale_since);
                match (instance.stale, was) {
                    (true, None) => self.check_silent(&key, "is stale")?,
                    (true, Some(_)) => return Ok(()),
                    (false, _) => {}
                }
                if let Some(lease) = self.leases.get_mut(&key) {
                    lease.stale_since = instance.stale.then_some(self.ran);
                }
            }
            Change::Remove { service, instance_id, generation: _, reason } => {
                let key = (service.clone(), instance_id.clone());
                self.check_owner(&key, by)?;
                if *reason == RemovalReason::Expired {
                    self.check_silent(&key, "is gone")?;
                }
                self.leases.remove(&key);
                self.owners.remove(&key);
                self.history.removed(key, now);
            }
        }
        Ok(())
    }

    /// P7: a principal changes its own only.
    fn check_owner(&self, key: &Key, by: Option<Peer>) -> Result<(), Violation> {
        match self.owners.get(key) {
            Some(owner) if by == Some(Peer::Rogue) && owner != "rogue" => {
                Violation::of(Property::P7, format!("another principal changed {key:?}"))
            }
            _ => Ok(()),
        }
    }

    /// P2: its last heartbeat is a whole lease ago.
    fn check_silent(&self, key: &Key, what: &str) -> Result<(), Violation> {
        let Some(lease) = self.leases.get(key) else { return Ok(()) };
        let silent = self.ran - lease.heard;
        if silent < lease.ttl + GRACE {
            let generation = lease.generation;
            let what = format!("{key:?} of generation {generation} was heard {silent:?} ago and {what}");
            return Violation::of(Property::P2, what);
        }
        Ok(())
    }

    /// P3, P10 and the set's half of P1, once a second.
    pub fn check_leases(&mut self, store: &Store) -> Result<(), Violation> {
        self.preserves_since = match store.state() {
            SourceState::Preserving => Some(self.preserves_since.unwrap_or(self.ran)),
            _ => None,
        };
        let lasts = self.preserves_since.map_or(Duration::ZERO, |since| self.ran - since);
        if lasts > LONGEST_PRESERVATION + BUCKET {
            return Violation::of(Property::P10, format!("preserving for {lasts:?}"));
        }
        let rows = store.instances();
        if self.second.is_multiple_of(60) && SetDigest::of(&rows) != store.digest() {
            return Violation::of(Property::P1, "the store's digest is not that of its set");
        }
        if store.state() == SourceState::Warming {
            self.warm_since = None;
            return Ok(());
        }
        let warm_since = *self.warm_since.get_or_insert(self.ran);
        for row in &rows {
            let key = key_of(row);
            let Some(lease) = self.leases.get(&key) else { continue };
            let silent = self.ran - lease.heard;
            let due = (lease.heard + lease.ttl + GRACE).max(warm_since);
            match lease.stale_since {
                None if self.ran > due + BUCKET => {
                    return Violation::of(
                        Property::P3,
                        format!("{key:?} is fresh after {silent:?} of silence"),
                    );
                }
                Some(since) => {
                    let queue = Duration::from_secs(u64::try_from(rows.len()).unwrap());
                    if self.ran > since.max(warm_since) + LONGEST_STALE + queue + BUCKET {
                        return Violation::of(
                            Property::P3,
                            format!("{key:?} is there after {silent:?} of silence"),
                        );
                    }
                }
                None => {}
            }
        }
        Ok(())
    }
}

pub fn parse(service: &str, id: &str) -> Option<Key> {
    Some((ServiceName::parse(service).ok()?, InstanceId::parse(id).ok()?))
}
