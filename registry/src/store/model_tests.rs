//! Seeded simulation: thousands of random operations against a simple model of who must be there and who must not.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Epoch, Instance, Position, ServiceName, Status, limits};

use super::{Change, Patch, Refusal, Registrant, Store, StoreLimits};

const SERVICES: [&str; 4] = ["osint_service", "ip_service", "maximus_core", "eureka"];
const IDS: [&str; 5] = ["@legacy", "a:1", "b:1", "c:1", "d:1"];
const TTLS_S: [u32; 4] = [5, 10, 60, 120];

/// What the model knows of one live instance.
#[derive(Clone, Debug)]
struct Expected {
    generation: u64,
    incarnation: u64,
    ttl_ms: u64,
    beat_ms: u64,
    drained_ms: Option<u64>,
}

struct World {
    rng: fastrand::Rng,
    store: Store,
    now: Duration,
    /// The model's own idea of lease time.
    lease_ms: u64,
    expected: BTreeMap<(String, String), Expected>,
    /// Generations that were taken over or removed.
    dead: Vec<(String, String, u64)>,
    /// A watcher's copy of the set.
    replica: BTreeMap<(String, String), Instance>,
    seen: Position,
    resyncs: usize,
    quarantined: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = StoreLimits { log_entries: 50, ..StoreLimits::default() };
        let store = Store::new(limits, Epoch(u128::from(seed)), 1, Duration::ZERO);
        Self {
            rng: fastrand::Rng::with_seed(seed),
            seen: store.position(),
            store,
            now: Duration::ZERO,
            lease_ms: 0,
            expected: BTreeMap::new(),
            dead: Vec::new(),
            replica: BTreeMap::new(),
            resyncs: 0,
            quarantined: 0,
        }
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.rng.usize(..words.len())]
    }

    fn step(&mut self) {
        let before = self.store.position().revision;
        match self.rng.u32(..100) {
            0..25 => self.register(),
            25..60 => self.beat(),
            60..65 => self.patch(),
            65..72 => self.deregister(),
            72..82 => self.old_generation(),
            82..99 => self.pass_time(),
            _ => self.pause(),
        }
        assert!(self.store.position().revision >= before, "the revision went back");
        self.check();
        if self.rng.u32(..10) == 0 {
            self.watch();
        }
    }

    fn register(&mut self) {
        let (service, id) = (self.pick(&SERVICES), self.pick(&IDS));
        let key = (service.to_owned(), id.to_owned());
        let held = self.expected.get(&key).cloned();
        let newest = held.as_ref().map_or(1, |h| h.incarnation);
        let incarnation = if id == "@legacy" { 0 } else { (newest + self.rng.u64(..3)).saturating_sub(1) };
        let ttl_s = TTLS_S[self.rng.usize(..TTLS_S.len())];
        let body = format!(
            r#"{{"service_name":"{service}","instance_id":"{id}","endpoint":"http://h{}:80","incarnation":{incarnation},"ttl":{ttl_s}}}"#,
            self.rng.u32(..2)
        );
        let wanted = Registration::from_old_body(body.as_bytes()).unwrap();
        let by = Registrant { name: "p", limited: true };
        match self.store.register(wanted, by, self.now, 7) {
            Err(Refusal::Flapping { .. }) => {
                assert!(held.is_some() && (incarnation > newest || incarnation == 0), "not a takeover");
                self.quarantined += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal, Refusal::OlderIncarnation { held: newest });
                assert!(incarnation < newest);
            }
            Ok(registered) => {
                assert!(held.is_none() || incarnation >= newest, "an older incarnation was accepted");
                if let Some(held) = held {
                    assert!(registered.generation >= held.generation);
                    if registered.generation > held.generation {
                        self.dead.push((key.0.clone(), key.1.clone(), held.generation));
                    }
                }
                let drained_ms = None;
                let ttl_ms = u64::from(ttl_s) * 1000;
                let generation = registered.generation;
                let new = Expected { generation, incarnation, ttl_ms, beat_ms: self.lease_ms, drained_ms };
                self.expected.insert(key, new);
            }
        }
    }

    fn some_live(&mut self) -> Option<(String, String)> {
        let count = self.expected.len();
        (count > 0).then(|| self.expected.keys().nth(self.rng.usize(..count)).unwrap().clone())
    }

    fn beat(&mut self) {
        let Some(key) = self.some_live() else { return };
        let position = self.store.position();
        let generation = self.expected[&key].generation;
        let stale = self.store.instances().iter().any(|r| key_of(r) == key && r.stale);
        let beat = self.store.beat(&key.0, &key.1, Some(generation), self.now);
        assert!(stale || self.store.position() == position, "a heartbeat made a revision");
        let due = self.expected.get_mut(&key).unwrap();
        if beat.is_ok() {
            due.beat_ms = self.lease_ms;
        } else {
            assert_eq!(beat, Err(Refusal::Unknown));
        }
    }

    fn patch(&mut self) {
        let Some(key) = self.some_live() else { return };
        let status = [Status::Up, Status::Draining, Status::Down][self.rng.usize(..3)];
        let deadline_s = self.rng.bool().then(|| self.rng.u32(1..30));
        let patch = Patch { status: Some(status), deadline_s, ..Patch::default() };
        let due = self.expected.get_mut(&key).unwrap();
        if self.store.patch(&key.0, &key.1, Some(due.generation), &patch, self.now).is_ok() {
            let drains = deadline_s.filter(|_| status == Status::Draining);
            due.drained_ms = drains.map(|s| self.lease_ms + u64::from(s) * 1000);
        }
    }

    fn deregister(&mut self) {
        let Some(key) = self.some_live() else { return };
        let due = self.expected.remove(&key).unwrap();
        assert!(self.store.deregister(&key.0, &key.1, Some(due.generation), self.now).is_ok());
        self.dead.push((key.0, key.1, due.generation));
    }

    /// Messages of the dead change nothing, whatever they say.
    fn old_generation(&mut self) {
        let Some((service, id, generation)) = self.rng.choice(&self.dead).cloned() else { return };
        let (position, digest) = (self.store.position(), self.store.digest());
        let beat = self.store.beat(&service, &id, Some(generation), self.now);
        assert!(matches!(beat, Err(Refusal::OldGeneration | Refusal::Unknown)), "{beat:?}");
        let patch = Patch { weight: Some(1), ..Patch::default() };
        assert!(self.store.patch(&service, &id, Some(generation), &patch, self.now).is_err());
        let removed = self.store.deregister(&service, &id, Some(generation), self.now);
        assert!(matches!(removed, Ok(false) | Err(Refusal::OldGeneration)), "{removed:?}");
        assert_eq!((self.store.position(), self.store.digest()), (position, digest));
    }

    fn pass_time(&mut self) {
        for _ in 0..self.rng.u32(1..40) {
            self.now += Duration::from_millis(100);
            self.lease_ms += 100;
            while self.store.advance(self.now, 10).more {}
        }
    }

    fn pause(&mut self) {
        self.now += Duration::from_secs(self.rng.u64(2..100));
        self.lease_ms += 100;
        while self.store.advance(self.now, 10).more {}
    }

    fn check(&mut self) {
        let rows = self.store.instances();
        assert_eq!(self.store.digest(), SetDigest::of(&rows), "digest");
        let there = |key: &(String, String)| {
            rows.iter().find(|r| r.service.as_str() == key.0 && r.instance_id.as_str() == key.1)
        };
        let now = self.lease_ms;
        let dead = &mut self.dead;
        let grace_ms = u64::from(limits::GRACE_S) * 1000;
        self.expected.retain(|key, due| {
            // No lease runs out before the warm-up is over; draining does end.
            let lease_ends = (due.beat_ms + due.ttl_ms + grace_ms).max(75_000);
            let ends = due.drained_ms.map_or(lease_ends, |at| at.min(lease_ends));
            let drains = due.drained_ms == Some(ends);
            let row = there(key);
            let present = row.is_some();
            // What self-preservation keeps has bounds of its own, which are tested beside it.
            let kept = row.is_some_and(|row| row.stale) && !drains;
            if now < ends {
                assert!(present, "{key:?} went away before its time: {due:?} at {now}");
            }
            // One bucket, and one tick.
            let bound = ends + 1_100;
            assert!(!present || kept || now <= bound, "{key:?} is still there: {due:?} at {now}");
            if !present {
                dead.push((key.0.clone(), key.1.clone(), due.generation));
            }
            present
        });
        assert_eq!(rows.len(), self.expected.len(), "something is there that nobody registered");
    }

    fn watch(&mut self) {
        loop {
            let Some(delta) = self.store.since(self.seen, 2_000) else {
                let rows = self.store.instances();
                self.replica = rows.iter().map(|r| (key_of(r), r.clone())).collect();
                self.seen = self.store.position();
                self.resyncs += 1;
                return;
            };
            assert_eq!(delta.from, self.seen.revision);
            for change in delta.changes {
                match change {
                    Change::Upsert(instance) => {
                        self.replica.insert(key_of(&instance), (*instance).clone());
                    }
                    Change::Remove { service, instance_id, generation, .. } => {
                        let key = (service.to_string(), instance_id.to_string());
                        let gone = self.replica.remove(&key).expect("a removal of something unknown");
                        assert_eq!(gone.generation, generation);
                    }
                }
            }
            assert_eq!(delta.digest, SetDigest::of(self.replica.values()), "digest of the delta's end");
            self.seen.revision = delta.to;
            if delta.to == self.store.position().revision {
                break;
            }
        }
        let rows = self.store.instances();
        assert_eq!(rows.len(), self.replica.len());
        assert!(rows.iter().all(|r| self.replica.get(&key_of(r)) == Some(r)));
    }
}

fn key_of(instance: &Instance) -> (String, String) {
    (instance.service.to_string(), instance.instance_id.to_string())
}

#[test]
fn random_histories_keep_every_law() {
    // One seed from outside repeats a failure: VERTICE_SEED=123 cargo test.
    let given = option_env!("VERTICE_SEED").and_then(|s| s.parse().ok());
    let seeds = given.map_or_else(|| (0..8).map(|_| fastrand::u64(..)).collect(), |seed| vec![seed]);
    let mut resyncs = 0;
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..3_000 {
            world.step();
        }
        resyncs += world.resyncs;
        assert!(world.dead.len() > 100, "a run in which hardly anything ended tests nothing");
    }
    println!("{resyncs} resyncs");
}

#[test]
fn names_are_sorted_and_those_of_live_instances() {
    let mut world = World::new(1);
    for _ in 0..500 {
        world.step();
        let names: Vec<ServiceName> = world.store.names().cloned().collect();
        let mut live: Vec<_> =
            world.store.instances().iter().map(|r| ServiceName::parse(r.service.as_str()).unwrap()).collect();
        live.dedup();
        assert!(names.is_sorted());
        assert_eq!(names, live);
    }
}
