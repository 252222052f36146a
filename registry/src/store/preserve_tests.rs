//! Self-preservation: what trips it, what does not, each of its exits, and a simulated fleet under outages.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::register::Registration;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, SourceState};

use super::preserve::{CALM, LONGEST, LONGEST_STALE, Preservation, SharedPhase};
use super::{Change, Registrant, Store, StoreLimits};

const EPOCH: Epoch = Epoch(7);
/// TTL and grace of the leases here.
const LEASE_S: u64 = 75;

/// A store with its time; instances are numbered.
struct Fleet {
    store: Store,
    now: Duration,
    generations: BTreeMap<u64, u64>,
}

impl Fleet {
    /// Past its warm-up.
    fn new() -> Self {
        let store = Store::new(StoreLimits::default(), EPOCH, 1, Duration::ZERO);
        let mut fleet = Self { store, now: Duration::ZERO, generations: BTreeMap::new() };
        fleet.pass(80, |_| false);
        fleet
    }

    fn register(&mut self, number: u64, more: &str) {
        let body = format!(
            r#"{{"service_name":"osint_service","instance_id":"i:{number}","endpoint":"http://h:80"{more}}}"#
        );
        let wanted = Registration::from_old_body(body.as_bytes()).unwrap();
        let by = Registrant { name: "p", limited: true };
        let registered = self.store.register(wanted, by, self.now, 0).unwrap();
        self.generations.insert(number, registered.generation);
    }

    fn beat(&mut self, number: u64) -> bool {
        let generation = self.generations[&number];
        self.store.beat("osint_service", &format!("i:{number}"), Some(generation), self.now).is_ok()
    }

    /// `seconds` in ticks; in each second a third of those that `beats` names beat.
    fn pass(&mut self, seconds: u64, beats: impl Fn(u64) -> bool) {
        for _ in 0..seconds {
            let second = self.now.as_secs();
            let numbers: Vec<u64> = self.generations.keys().copied().collect();
            for number in numbers.into_iter().filter(|n| n % 20 == second % 20 && beats(*n)) {
                self.beat(number);
            }
            for _ in 0..10 {
                self.now += Duration::from_millis(100);
                while self.store.advance(self.now, 50).more {}
            }
        }
    }

    fn live(&self) -> usize {
        self.store.stats().instances
    }

    fn stale(&self) -> usize {
        self.store.instances().iter().filter(|i| i.stale).count()
    }

    fn is_preserving(&self) -> bool {
        self.store.state() == SourceState::Preserving
    }
}

fn fleet_of(count: u64) -> Fleet {
    let mut fleet = Fleet::new();
    for number in 0..count {
        fleet.register(number, "");
    }
    fleet
}

#[test]
fn few_at_once_expire_on_time_and_trip_nothing() {
    let mut fleet = fleet_of(10);
    fleet.pass(LEASE_S + 3, |n| n >= 5);
    assert_eq!((fleet.live(), fleet.stale(), fleet.is_preserving()), (5, 0, false), "five are free");
    let mut fleet = fleet_of(200);
    fleet.pass(LEASE_S + 3, |n| n >= 30);
    assert_eq!((fleet.live(), fleet.is_preserving()), (170, false), "15 % are free");
}

#[test]
fn the_next_one_is_kept_and_marked_and_that_is_a_change() {
    let mut fleet = fleet_of(10);
    let before = fleet.store.position();
    fleet.pass(LEASE_S + 3, |n| n >= 6);
    assert_eq!((fleet.live(), fleet.stale(), fleet.is_preserving()), (5, 1, true));
    assert_eq!(fleet.store.stats().stale, 1);
    let changes = fleet.store.since(before, usize::MAX).unwrap().changes;
    let marks = changes.iter().filter(|change| matches!(change, Change::Upsert(i) if i.stale)).count();
    assert_eq!((changes.len(), marks), (6, 1));
}

#[test]
fn losses_that_are_far_apart_do_not_add_up() {
    let mut fleet = fleet_of(10);
    for gone in 1..=7 {
        fleet.pass(2 * LEASE_S, |n| n >= gone);
    }
    assert_eq!((fleet.live(), fleet.is_preserving()), (3, false));
}

#[test]
fn a_scale_down_by_its_own_word_trips_nothing_and_lowers_the_baseline() {
    let mut fleet = fleet_of(100);
    for number in 0..95 {
        let generation = fleet.generations.remove(&number);
        fleet.store.deregister("osint_service", &format!("i:{number}"), generation, fleet.now).unwrap();
    }
    fleet.pass(LEASE_S + 3, |_| false);
    assert_eq!((fleet.live(), fleet.is_preserving()), (0, false), "five of five are still free");
}

#[test]
fn half_a_zone_trips_it_and_the_loss_of_a_tiny_one_does_not() {
    for (zone_size, lost, trips) in [(10, 5, false), (10, 6, true), (5, 5, false)] {
        let mut fleet = fleet_of(200);
        for number in 200..200 + zone_size {
            fleet.register(number, r#","zone":"z""#);
        }
        fleet.pass(LEASE_S + 3, |n| n < 200 || n >= 200 + lost);
        assert_eq!(fleet.is_preserving(), trips, "{lost} of {zone_size}");
        assert_eq!(fleet.stale(), usize::from(trips));
    }
}

#[test]
fn it_ends_when_the_leases_are_renewed_again() {
    let mut fleet = fleet_of(100);
    fleet.pass(LEASE_S + 25, |_| false);
    assert_eq!((fleet.live(), fleet.stale(), fleet.is_preserving()), (85, 85, true));
    // Ten of the 85 stay away.
    let ids: Vec<String> = fleet.store.instances().iter().map(|i| i.instance_id.to_string()).collect();
    fleet.generations.retain(|n, _| ids.contains(&format!("i:{n}")));
    let away: Vec<u64> = fleet.generations.keys().copied().take(10).collect();
    fleet.pass(75, |n| !away.contains(&n));
    assert_eq!((fleet.stale(), fleet.is_preserving()), (10, true), "calm for less than two intervals");
    fleet.pass(30, |n| !away.contains(&n));
    assert!(!fleet.is_preserving());
    fleet.pass(15, |n| !away.contains(&n));
    assert_eq!((fleet.live(), fleet.stale()), (75, 0), "what did not come back went after it");
}

#[test]
fn a_renewal_takes_the_mark_back_once() {
    let mut fleet = fleet_of(10);
    fleet.pass(LEASE_S + 3, |_| false);
    let stale = fleet.store.instances().iter().find(|i| i.stale).unwrap().clone();
    let before = fleet.store.position().revision;
    let number: u64 = stale.instance_id.as_str().trim_start_matches("i:").parse().unwrap();
    assert!(fleet.beat(number));
    assert_eq!(fleet.store.position().revision.0, before.0 + 1);
    assert!(fleet.beat(number));
    assert_eq!(fleet.store.position().revision.0, before.0 + 1, "a second one is no change");
    let generation = fleet.generations[&number];
    fleet.register(number, "");
    assert_eq!(fleet.generations[&number], generation);
    fleet.pass(LEASE_S - 2, |_| false);
    assert!(fleet.store.instances().iter().any(|i| i.instance_id == stale.instance_id && !i.stale));
}

#[test]
fn the_same_registration_again_keeps_its_generation() {
    let mut fleet = fleet_of(10);
    fleet.pass(LEASE_S + 3, |_| false);
    let stale = fleet.store.instances().iter().find(|i| i.stale).unwrap().clone();
    let number: u64 = stale.instance_id.as_str().trim_start_matches("i:").parse().unwrap();
    let before = fleet.store.position().revision;
    fleet.register(number, "");
    assert_eq!(fleet.generations[&number], stale.generation, "being stale is no other content");
    assert_eq!(fleet.store.position().revision.0, before.0 + 1);
}

#[test]
fn a_stale_lease_lasts_ten_minutes_and_goes_at_a_bounded_rate() {
    let mut fleet = fleet_of(1000);
    fleet.pass(LEASE_S + 25, |_| false);
    assert_eq!((fleet.stale(), fleet.is_preserving()), (850, true));
    fleet.pass(LONGEST_STALE.as_secs() - 30, |_| false);
    assert_eq!(fleet.live(), 850);
    let before = fleet.store.position();
    let mut seconds = 0;
    while fleet.live() > 0 {
        let had = fleet.live();
        fleet.pass(1, |_| false);
        assert!(had - fleet.live() <= (had / 100).max(1) * 2, "{had} -> {}", fleet.live());
        seconds += 1;
        assert!(seconds < 600, "{} are left", fleet.live());
    }
    let changes = fleet.store.since(before, usize::MAX).unwrap().changes;
    let expired =
        |c: &Change| matches!(c, Change::Remove { reason, .. } if *reason == RemovalReason::Expired);
    assert!(changes.len() == 850 && changes.iter().all(expired));
    fleet.pass(61, |_| false);
    assert!(!fleet.is_preserving());
}

#[test]
fn an_operator_ends_it_and_it_does_not_begin_again_at_once() {
    let mut fleet = fleet_of(100);
    assert!(!fleet.store.release(), "there is nothing to end");
    fleet.pass(20, |_| true);
    fleet.pass(LEASE_S - 10, |_| false);
    assert!(fleet.is_preserving() && fleet.live() > fleet.stale(), "the others are about to run out");
    assert!(fleet.store.release());
    assert_eq!(fleet.store.state(), SourceState::Serving);
    fleet.pass(120, |_| false);
    assert_eq!((fleet.live(), fleet.is_preserving()), (0, false));
    // It is armed again afterwards.
    fleet.generations.clear();
    for number in 0..100 {
        fleet.register(number, "");
    }
    fleet.pass(LEASE_S + 25, |_| false);
    assert!(fleet.is_preserving());
}

#[test]
fn a_proof_of_death_removes_what_is_stale_and_only_that() {
    let mut fleet = fleet_of(10);
    fleet.pass(LEASE_S + 3, |n| n >= 6);
    let rows = fleet.store.instances();
    for row in rows {
        let id = row.instance_id.as_str();
        let old = fleet.store.proven_dead("osint_service", id, row.generation - 1, fleet.now);
        assert!(!old, "an old generation proves nothing");
        assert_eq!(fleet.store.proven_dead("osint_service", id, row.generation, fleet.now), row.stale);
    }
    assert_eq!((fleet.live(), fleet.stale()), (4, 0));
    assert!(!fleet.store.proven_dead("osint_service", "nobody", 1, fleet.now));
}

/// P2, P3 and P10 with a fleet that suffers: outages of parts of it, crashes, scale-downs, churn, pauses.
#[test]
fn whatever_happens_beats_keep_and_silence_ends_and_preservation_ends() {
    let given = option_env!("VERTICE_SEED").and_then(|s| s.parse().ok());
    // In the first one a preservation begins in the very tick in which the one before ends.
    let seeds = [15_567_791_739_067_457_739, fastrand::u64(..), fastrand::u64(..), fastrand::u64(..)];
    let seeds: Vec<u64> = given.map_or_else(|| seeds.to_vec(), |seed| vec![seed]);
    let mut preserved = 0;
    for seed in seeds {
        println!("seed {seed}");
        preserved += Trial::new(seed).run(2 * 3600);
    }
    assert!(preserved > 0, "no run came into preservation, so this tested nothing");
}

/// How a simulated sidecar is.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Beats since it registered get through before this second.
    cut_until_s: u64,
    crashed: bool,
    /// Of the last beat that got through.
    beat_s: u64,
}

struct Trial {
    rng: fastrand::Rng,
    fleet: Fleet,
    members: BTreeMap<u64, Member>,
    next: u64,
    preserving_since_s: Option<u64>,
    /// When there were too many stale ones to end preservation, last.
    too_many_s: u64,
    preserved: usize,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut trial = Self {
            rng: fastrand::Rng::with_seed(seed),
            fleet: Fleet::new(),
            members: BTreeMap::new(),
            next: 0,
            preserving_since_s: None,
            too_many_s: 0,
            preserved: 0,
        };
        for _ in 0..200 {
            trial.join();
        }
        trial
    }

    fn second(&self) -> u64 {
        self.fleet.now.as_secs()
    }

    fn join(&mut self) {
        let zone = ["", r#","zone":"a""#, r#","zone":"b""#][self.rng.usize(..3)];
        self.fleet.register(self.next, zone);
        self.members.insert(self.next, Member { cut_until_s: 0, crashed: false, beat_s: self.second() });
        self.next += 1;
    }

    fn run(mut self, seconds: u64) -> usize {
        for _ in 0..seconds {
            if self.rng.u32(..300) == 0 {
                self.event();
            }
            self.beats();
            self.fleet.pass(1, |_| false);
            self.check();
        }
        self.preserved
    }

    fn event(&mut self) {
        let second = self.second();
        let share = self.rng.f64();
        let chosen: Vec<u64> = self.members.keys().copied().filter(|_| self.rng.f64() < share).collect();
        match self.rng.u32(..6) {
            // They cannot reach the registry for a while.
            0 | 1 => {
                let until_s = second + self.rng.u64(1..1500);
                for member in chosen {
                    if let Some(member) = self.members.get_mut(&member) {
                        member.cut_until_s = until_s;
                    }
                }
            }
            2 => chosen.iter().for_each(|n| {
                if let Some(member) = self.members.get_mut(n) {
                    member.crashed = true;
                }
            }),
            3 => chosen.into_iter().for_each(|n| {
                self.members.remove(&n);
                let generation = self.fleet.generations.remove(&n);
                let removed = self.fleet.store.deregister(
                    "osint_service",
                    &format!("i:{n}"),
                    generation,
                    self.fleet.now,
                );
                assert!(removed.is_ok());
            }),
            4 => (0..self.rng.u32(1..100)).for_each(|_| self.join()),
            _ => {
                // The process stands still; nobody could beat.
                let pause_s = self.rng.u64(2..200);
                self.fleet.now += Duration::from_secs(pause_s);
                for member in self.members.values_mut() {
                    member.beat_s += pause_s;
                    member.cut_until_s += pause_s;
                }
                self.too_many_s += pause_s;
                if let Some(since_s) = &mut self.preserving_since_s {
                    *since_s += pause_s;
                }
            }
        }
    }

    fn beats(&mut self) {
        let second = self.second();
        let mut lost = Vec::new();
        for (number, member) in &mut self.members {
            let reaches = !member.crashed && member.cut_until_s <= second;
            if reaches && (second + number).is_multiple_of(20) {
                member.beat_s = second;
                if !self.fleet.beat(*number) {
                    lost.push(*number);
                }
            }
        }
        // As a sidecar does.
        for number in lost {
            self.fleet.register(number, "");
        }
    }

    fn check(&mut self) {
        let second = self.second();
        let rows = self.fleet.store.instances();
        let there: BTreeMap<u64, bool> = rows
            .iter()
            .map(|i| (i.instance_id.as_str().trim_start_matches("i:").parse().unwrap(), i.stale))
            .collect();
        let preserving = self.fleet.is_preserving();
        // The whole queue of stale ones at one per second, and the longest a lease may be stale.
        let longest_s = LEASE_S + 3 + LONGEST_STALE.as_secs() + u64::try_from(there.len()).unwrap();
        self.members.retain(|number, member| {
            let silent_s = second - member.beat_s;
            match there.get(number) {
                None => {
                    assert!(silent_s >= LEASE_S, "P2: {number} beat {silent_s} s ago and is gone");
                    !member.crashed
                }
                Some(stale) => {
                    assert!(!stale || silent_s >= LEASE_S, "P2: {number} is stale after {silent_s} s");
                    assert!(*stale || silent_s <= LEASE_S + 3, "P3: {number} is fresh after {silent_s} s");
                    assert!(silent_s <= longest_s + 400, "P3: {number} is there after {silent_s} s");
                    true
                }
            }
        });
        self.check_preservation(second, preserving);
        let stale = there.values().filter(|stale| **stale).count();
        if stale > 5.max(there.len() * 15 / 100) {
            self.too_many_s = second;
        }
    }

    /// P10. A preservation may begin in the tick in which the one before ends, which no state in between shows; but
    /// only after a calm that is seen here, else it would be the same one with another date.
    fn check_preservation(&mut self, second: u64, preserving: bool) {
        let age_s = self.fleet.store.preserving_for(self.fleet.now).map_or(0, |age| age.as_secs());
        let another = |since_s: u64| second - since_s > age_s + 2;
        match (preserving, self.preserving_since_s) {
            (false, _) => self.preserving_since_s = None,
            (true, Some(since_s)) if !another(since_s) => {
                let lasted_s = second - since_s;
                assert!(lasted_s <= LONGEST.as_secs() + 2, "P10: preserving for {lasted_s} s");
            }
            (true, before) => {
                let calm_s = second - self.too_many_s;
                let was_calm = calm_s + 2 >= CALM.as_secs();
                assert!(before.is_none() || was_calm, "P10: again after {calm_s} s of calm");
                self.preserving_since_s = Some(second - age_s);
                self.preserved += 1;
            }
        }
    }
}

/// A replica's view of `live` instances of no zone.
fn view_of(live: usize) -> Preservation {
    let mut view = Preservation::new();
    (0..live).for_each(|_| view.enter(None));
    view
}

#[test]
fn many_are_judged_as_one_by_one_and_not_counted_before_they_are_gone() {
    for (live, overdue) in [(20, 12), (100, 14), (100, 15), (100, 16), (1000, 400)] {
        let (mut batch, mut single) = (view_of(live), view_of(live));
        let mut one_by_one = Vec::new();
        for _ in 0..overdue {
            one_by_one.push(single.may_expire(None, 60, 5_000));
            if one_by_one.last() == Some(&true) {
                single.leave(None);
            } else {
                single.mark(0, None, 5_000);
            }
        }
        let zones = || std::iter::repeat_n(None, overdue);
        assert_eq!(batch.may_expire_all(zones(), 0, 5_000), one_by_one, "{overdue} of {live}");
        batch.adopt(SharedPhase::Watching, 5_000);
        assert_eq!(batch.may_expire_all(zones(), 0, 5_000), one_by_one, "it counted nothing");
    }
    let mut view = view_of(20);
    let zones = || std::iter::repeat_n(None, 3);
    assert_eq!(view.may_expire_all(zones(), 3, 0), [true, true, false], "others removed three");
}

#[test]
fn a_shared_phase_is_taken_over_and_ends_by_the_age_that_all_give_it() {
    let mut view = view_of(20);
    let preserving = |s| SharedPhase::Preserving { age: Duration::from_secs(s) };
    view.adopt(preserving(30), 100_000);
    view.pass(100_000);
    assert_eq!((view.shared(100_000), view.shared(105_000)), (preserving(30), preserving(35)));
    view.adopt(preserving(90), 160_000);
    view.pass(160_000);
    assert_eq!(view.shared(160_000), SharedPhase::Watching, "calm since it was taken over, a minute ago");
    // In a process that started a second ago.
    let mut young = view_of(20);
    young.adopt(SharedPhase::Preserving { age: LONGEST }, 1_000);
    assert_eq!(young.shared(1_000), SharedPhase::Released);
    young.pass(1_000);
    assert_eq!(young.shared(1_000), SharedPhase::Watching);
    young.adopt(SharedPhase::Released, 2_000);
    assert_eq!(
        young.may_expire_all(std::iter::repeat_n(None, 20), 0, 2_000),
        [true; 20],
        "released is released"
    );
}
