//! What the harness knows by itself about all replicas together: who was heard where and when, what happened in the shared
//! history and in those that replicas have alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vertice_registry::store::{Change, Store};
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Position, ServiceName, SourceState};

use super::super::history::History;
use super::super::property::{Property, Violation};
use super::super::truth::{Key, key_of};

/// What a lease has on top, and how long nothing runs out after a disturbance.
const GRACE: Duration = Duration::from_secs(15);
const WARM: Duration = Duration::from_secs(75);
const LONGEST_STALE: Duration = Duration::from_mins(10);
const LONGEST_PRESERVATION: Duration = Duration::from_mins(15);
/// How long a heartbeat may be on its way to Redis: it is gathered for half a second, and a call takes a second at most.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// A jump of Redis's clock that no sweep notices; it shortens leases by as much.
const UNNOTICED: Duration = Duration::from_secs(5);
/// What a bound may be late by: a sweep a second, each with a call or two.
const SLACK: Duration = Duration::from_secs(5);
/// A replica finds Redis again within a second, and needs some calls of at most one second each to be in step.
const IN_STEP_WITHIN: Duration = Duration::from_secs(20);

/// Where a lease was last heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Duration,
    /// What it was told to be, or named.
    generation: u64,
    /// The process that heard it.
    process: u64,
}

#[derive(Debug, Default)]
struct Lease {
    heard: BTreeMap<usize, Heard>,
    ttl: Duration,
    /// The last that could have moved it: a registration, an assertion, a heartbeat that came to Redis.
    moved: Duration,
    stale_since: Option<Duration>,
}

/// What is known of one replica.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    process: u64,
    position: Option<Position>,
    /// Since when Redis has been there for it.
    linked_since: Option<Duration>,
    /// Since when it has not.
    away_since: Option<Duration>,
    /// Since when it could reach Redis, if it did not stand still.
    could_since: Option<Duration>,
}

#[derive(Default)]
pub struct Shared {
    pub history: History,
    leases: BTreeMap<Key, Lease>,
    generations: BTreeMap<(u128, Key), u64>,
    owners: BTreeMap<Key, String>,
    seen: BTreeMap<usize, Seen>,
    /// Which changes were written down.
    taken: BTreeSet<(u128, u64)>,
    acks: BTreeMap<(usize, usize), (u64, Position)>,
    /// Since when Redis has been as it was, and some replica on it.
    calm_since: Option<Duration>,
    preserves_since: Option<Duration>,
    epoch: Option<String>,
    pub violations: Vec<Violation>,
    pub now: Duration,
    pub epochs: u64,
    pub resets: u64,
}

/// What the outside of the replicas is like in this second.
pub struct Outside {
    /// The one that takes writes does so.
    pub answers: bool,
    pub epoch: Option<String>,
    pub preserving: bool,
    /// Which replicas run, are awake, and can reach it.
    pub reach: BTreeSet<usize>,
}

impl Shared {
    fn note(&mut self, done: Result<(), Violation>) {
        self.violations.extend(done.err());
    }

    /// A process of `replica` begins.
    pub fn began(&mut self, replica: usize, process: u64) {
        self.seen.insert(replica, Seen { process, ..Seen::default() });
        self.acks.retain(|(at, _), _| *at != replica);
    }

    /// `replica` answered a registration or a heartbeat with yes.
    pub fn heard(&mut self, replica: usize, process: u64, key: &Key, generation: u64) {
        let heard = Heard { at: self.now, generation, process };
        self.leases.entry(key.clone()).or_default().heard.insert(replica, heard);
    }

    /// Redis was told of heartbeats for these.
    pub fn told(&mut self, keys: impl Iterator<Item = String>) {
        for key in keys {
            let names = key.split_once('/').and_then(|(service, id)| {
                Some((ServiceName::parse(service).ok()?, InstanceId::parse(id).ok()?))
            });
            if let Some(key) = names {
                self.leases.entry(key).or_default().moved = self.now;
            }
        }
    }

    pub fn acked(&mut self, replica: usize, gateway: usize, process: u64, at: Position) {
        let acked = self.acks.entry((replica, gateway)).or_insert((process, at));
        let goes_on = acked.0 == process && acked.1.epoch == at.epoch;
        *acked = if goes_on {
            (process, if acked.1.revision > at.revision { acked.1 } else { at })
        } else {
            (process, at)
        };
    }

    /// Who said at `replica` that it has applied `at`: gateways with their processes.
    pub fn applied(&self, replica: usize, at: Position) -> BTreeSet<(usize, u64)> {
        let there = self.acks.iter().filter(|((there, _), _)| *there == replica);
        let applied =
            there.filter(|(_, (_, acked))| acked.epoch == at.epoch && acked.revision >= at.revision);
        applied.map(|((_, gateway), (process, _))| (*gateway, *process)).collect()
    }

    /// Writes down what `store` of `replica` shows that was not seen yet.
    pub fn record(&mut self, replica: usize, process: u64, store: &Store, now: Duration) {
        self.now = self.now.max(now);
        let mut seen = self.seen.get(&replica).copied().unwrap_or_default();
        if seen.process != process {
            return;
        }
        let degraded = store.state() == SourceState::Degraded;
        seen.linked_since = if degraded { None } else { Some(seen.linked_since.unwrap_or(now)) };
        seen.away_since = if degraded { Some(seen.away_since.unwrap_or(now)) } else { None };
        let position = store.position();
        let before = seen.position.replace(position);
        self.seen.insert(replica, seen);
        let Some(mut at) = before.filter(|before| before.epoch == position.epoch) else {
            return self.read_anew(store, now);
        };
        if position.revision < at.revision {
            let what = format!("replica {replica}: revision {} after {at}", position.revision);
            return self.violations.push(Violation { property: Property::P6, what });
        }
        while at != position {
            let Some(delta) = store.since(at, 1) else {
                return self.read_anew(store, now);
            };
            at.revision = delta.to;
            let same = self.history.at(at, delta.digest);
            self.note(same);
            if self.taken.insert((at.epoch.0, at.revision.0)) {
                for change in &delta.changes {
                    let taken = self.take(at.epoch, change, now);
                    self.note(taken);
                }
            }
        }
        let same = self.history.at(position, store.digest());
        self.note(same);
    }

    /// All of it is what it is now, without a word on how it came to it.
    fn read_anew(&mut self, store: &Store, now: Duration) {
        self.resets += 1;
        let same = self.history.at(store.position(), store.digest());
        self.note(same);
        for row in store.instances() {
            let key = key_of(&row);
            self.history.put(&key, now);
            self.owners.entry(key.clone()).or_insert_with(|| row.registered_by.to_string());
            let lease = self.leases.entry(key).or_insert_with(|| Lease { moved: now, ..Lease::default() });
            lease.ttl = Duration::from_secs(row.lease.ttl_s.into());
            if row.stale {
                lease.stale_since.get_or_insert(now);
            }
        }
    }

    fn take(&mut self, epoch: Epoch, change: &Change, now: Duration) -> Result<(), Violation> {
        match change {
            Change::Upsert(instance) => self.put(epoch, instance, now),
            Change::Remove { service, instance_id, generation, reason } => {
                let key = (service.clone(), instance_id.clone());
                let expired = *reason == RemovalReason::Expired;
                let silent = if expired { self.check_silent(&key, *generation, "is gone") } else { Ok(()) };
                if let Some(lease) = self.leases.get_mut(&key) {
                    (lease.stale_since, lease.moved) = (None, now);
                }
                self.owners.remove(&key);
                self.history.removed(key, now);
                silent
            }
        }
    }

    fn put(&mut self, epoch: Epoch, instance: &Instance, now: Duration) -> Result<(), Violation> {
        let key = key_of(instance);
        self.history.put(&key, now);
        let before = self.generations.insert((epoch.0, key.clone()), instance.generation).unwrap_or(0);
        let owner = self.owners.insert(key.clone(), instance.registered_by.to_string());
        if owner.as_deref() == Some("fleet") && instance.registered_by == "rogue".into() {
            return Violation::of(Property::P7, format!("another principal changed {key:?}"));
        }
        if instance.generation < before {
            let what = format!("{key:?}: generation {} after {before}", instance.generation);
            return Violation::of(Property::P5, what);
        }
        let lease = self.leases.entry(key.clone()).or_default();
        lease.ttl = Duration::from_secs(instance.lease.ttl_s.into());
        let was = lease.stale_since;
        if !instance.stale {
            (lease.stale_since, lease.moved) = (None, now);
            return Ok(());
        }
        lease.stale_since = Some(was.unwrap_or(now));
        if was.is_none() { self.check_silent(&key, instance.generation, "is stale") } else { Ok(()) }
    }

    /// P2: whoever of the replicas had Redis to tell it of the last heartbeat heard that a whole lease ago.
    fn check_silent(&self, key: &Key, generation: u64, what: &str) -> Result<(), Violation> {
        let Some(lease) = self.leases.get(key) else { return Ok(()) };
        // Of two that were taken in apart, only one holds it afterwards; the other is answered 409.
        for (replica, heard) in lease.heard.iter().filter(|(_, heard)| heard.generation == generation) {
            let silent = self.now.saturating_sub(heard.at);
            let seen = self.seen.get(replica).copied().unwrap_or_default();
            let linked_since = seen.linked_since.filter(|_| seen.process == heard.process);
            // Who stands still, or cannot reach Redis, tells it later.
            let could = linked_since.zip(seen.could_since).map(|(linked, could)| linked.max(could));
            let told = could.is_some_and(|since| since.max(heard.at) + TOLD_WITHIN < self.now);
            if told && silent + TOLD_WITHIN + UNNOTICED < lease.ttl + GRACE {
                let what = format!(
                    "{key:?} was heard {silent:?} ago by replica {replica} ({heard:?}), which was linked since {linked_since:?}, and {what}",
                );
                return Violation::of(Property::P2, what);
            }
        }
        Ok(())
    }

    /// Every second: what is so now.
    pub fn pass(&mut self, now: Duration, outside: &Outside) {
        self.now = self.now.max(now);
        let linked = |seen: &Seen| seen.linked_since.is_some();
        let same = outside.epoch == self.epoch;
        self.epochs += u64::from(!same);
        self.epoch.clone_from(&outside.epoch);
        let calm =
            outside.answers && same && outside.reach.iter().any(|r| self.seen.get(r).is_some_and(linked));
        self.calm_since = if calm { self.calm_since.or(Some(now)) } else { None };
        let preserves = outside.preserving && calm;
        self.preserves_since = if outside.preserving { self.preserves_since.or(Some(now)) } else { None };
        let bound = LONGEST_PRESERVATION + SLACK;
        let calm_for = self.calm_since.map_or(Duration::ZERO, |since| now - since);
        if let Some(since) = self.preserves_since.filter(|_| preserves && calm_for > SLACK)
            && now - since > bound
        {
            let what = format!("preserving for {:?}", now - since);
            self.violations.push(Violation { property: Property::P10, what });
        }
        let mut late = Vec::new();
        for (replica, seen) in &mut self.seen {
            let could = outside.answers && same && outside.reach.contains(replica);
            seen.could_since = if could { seen.could_since.or(Some(now)) } else { None };
            let both = seen.could_since.zip(seen.away_since).map(|(could, away)| could.max(away));
            if let Some(since) = both.filter(|since| *since + IN_STEP_WITHIN < now) {
                late.push(format!("replica {replica} could be in step since {since:?} and is not"));
            }
        }
        for (replica, seen) in &self.seen {
            let settled = seen.linked_since.is_some_and(|since| since + SLACK < now) && calm;
            let epoch = seen.position.map(|at| at.epoch.to_string());
            let could = seen.could_since.is_some_and(|since| since + SLACK < now);
            if settled && could && epoch != outside.epoch {
                late.push(format!(
                    "replica {replica} follows {:?} and shows the epoch {epoch:?}",
                    outside.epoch
                ));
            }
        }
        self.violations.extend(late.into_iter().map(|what| Violation { property: Property::P1, what }));
    }

    /// P3: what `replica` shows although it should be gone.
    pub fn check_leases(&self, replica: usize, store: &Store) -> Result<(), Violation> {
        let Some(calm_since) = self.calm_since else { return Ok(()) };
        let seen = self.seen.get(&replica).copied().unwrap_or_default();
        let serves = matches!(store.state(), SourceState::Serving | SourceState::Preserving);
        if !serves || seen.linked_since.is_none_or(|since| since + SLACK > self.now) {
            return Ok(());
        }
        let rows = store.instances();
        for row in &rows {
            let key = key_of(row);
            let Some(lease) = self.leases.get(&key) else { continue };
            let moved = lease.heard.values().map(|heard| heard.at).max().unwrap_or_default().max(lease.moved);
            // What was heard by a replica that is away may be told when it is back.
            let over = match lease.stale_since {
                None => (moved + lease.ttl + GRACE).max(calm_since + WARM) + SLACK,
                Some(since) => {
                    let queue = Duration::from_secs(u64::try_from(rows.len()).unwrap());
                    since.max(calm_since) + WARM + LONGEST_STALE + queue + SLACK
                }
            };
            if self.now > over {
                let what = format!(
                    "replica {replica} has {key:?} (stale: {}), last moved at {moved:?}; calm since {calm_since:?}",
                    row.stale
                );
                return Violation::of(Property::P3, what);
            }
        }
        Ok(())
    }
}
