//! Laws of the view under random histories: what no sequence of answers may do. Seeds are printed and can be given.

use super::tests::{changed, poll, removed, replaced, upsert};
use super::*;
use crate::event::Authority;
use crate::test_data::{id, instance, name};

const S: Duration = Duration::from_secs(1);
/// Random histories per law.
const HISTORIES: u64 = 300;

/// The seeds to run: the one in `VERTICE_SEED`, or fresh ones.
fn each_history(law: &str, run: impl Fn(&mut fastrand::Rng)) {
    let given = option_env!("VERTICE_SEED").and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    println!("{law}: seeds from {first}; one again: VERTICE_SEED=N cargo test");
    for seed in first..first + if given.is_some() { 1 } else { HISTORIES } {
        println!("seed {seed}");
        run(&mut fastrand::Rng::with_seed(seed));
    }
}

fn fleet(random: &mut fastrand::Rng) -> Vec<Instance> {
    let count = random.usize(1..20);
    (0..count).map(|n| instance(&format!("service{}", random.u8(0..5)), &format!("h{n}:1"))).collect()
}

fn some(all: &[Instance], random: &mut fastrand::Rng) -> Vec<Instance> {
    let keep = random.f64();
    all.iter().filter(|_| random.f64() < keep).cloned().collect()
}

/// One answer of a registry that is restarted, cut, empty or confused, and never says that an instance was taken back.
fn sick_answer(all: &[Instance], random: &mut fastrand::Rng) -> Event {
    let position = random.u64(1..100);
    match random.u8(0..8) {
        0 => Event::Failed { error: SourceError::Status(500), retry_in: S },
        1 => Event::Identified(if random.bool() { SourceKind::Watched } else { SourceKind::Polled }),
        2 => poll(&some(all, random), &[]),
        3 => poll(&[], &[]),
        4 => replaced(&[], random.u128(1..3), position),
        5 => replaced(&some(all, random), random.u128(1..3), position),
        6 => {
            let state =
                [SourceState::Warming, SourceState::Preserving, SourceState::Degraded, SourceState::Serving];
            let state = *random.choice(&state).unwrap();
            Event::Replaced {
                instances: some(all, random).into_iter().map(Arc::new).collect(),
                unread: BTreeSet::new(),
                position: Some(crate::test_data::at(random.u128(1..3), position)),
                state,
                authority: Authority::Complete,
            }
        }
        _ => {
            let gone = random.choice(all).unwrap();
            changed(
                vec![removed(gone.service.as_str(), gone.instance_id.as_str(), RemovalReason::Expired)],
                position,
            )
        }
    }
}

/// Every held instance's probe answers as `alive` says.
fn probe_all(view: &mut View, alive: impl Fn(&Instance) -> bool, now: Instant) {
    let held: Vec<_> = view.held().map(|(_, seen)| seen.instance.clone()).collect();
    for instance in held {
        let alive = alive(&instance);
        view.record_probe(&instance.service, &instance.instance_id, alive, now);
    }
}

/// The counts and indices say what the instances say.
fn check_books(view: &View) {
    let all = || view.services().flat_map(|(_, service)| service.instances.values());
    assert_eq!(view.count(), all().count());
    let held = all().filter(|seen| seen.hold.is_some()).count();
    assert_eq!((view.held().count(), view.held_count()), (held, held));
    assert!(view.services().all(|(_, service)| !service.instances.is_empty()));
}

#[test]
fn a_table_whose_instances_answer_is_never_emptied_by_absence_or_expiry() {
    each_history("never emptied", |random| {
        let all = fleet(random);
        let (start, mut now) = (Instant::now(), Instant::now());
        let mut view = View::new();
        view.apply(&Event::Identified(SourceKind::Watched), now);
        view.apply(&replaced(&all, 1, 1), now);
        while now < start + HOLD_LIMIT {
            now += Duration::from_millis(random.u64(100..20_000));
            view.apply(&sick_answer(&all, random), now);
            probe_all(&mut view, |_| true, now);
            view.tick(now);
            check_books(&view);
            // Half by absence; 5 % of all and at least one a minute by expiry.
            assert!(view.count() * 2 + 22 >= all.len(), "{} of {}", view.count(), all.len());
            assert!(view.count() > 0 || all.len() <= 11, "{} at {:?}", all.len(), now - start);
        }
    });
}

#[test]
fn an_outage_of_any_kind_but_a_proven_removal_keeps_every_instance_that_answers() {
    each_history("outage", |random| {
        let all = fleet(random);
        let (start, mut now) = (Instant::now(), Instant::now());
        let mut view = View::new();
        view.apply(&Event::Identified(SourceKind::Watched), now);
        view.apply(&replaced(&all, 1, 1), now);
        // Away, restarted empty, another kind of registry: a new history each time.
        let mut epoch = 2;
        while now < start + 3 * HOLD_LIMIT {
            now += Duration::from_millis(random.u64(100..60_000));
            let event = match random.u8(0..3) {
                0 => Event::Failed { error: SourceError::Timeout(S), retry_in: S },
                1 => poll(&some(&all, random), &[]),
                _ => {
                    epoch += 1;
                    replaced(&some(&all, random), epoch, 1)
                }
            };
            view.apply(&event, now);
            probe_all(&mut view, |_| true, now);
            view.tick(now);
            assert_eq!(view.count(), all.len());
        }
    });
}

#[test]
fn every_hold_ends() {
    each_history("holds end", |random| {
        let all = fleet(random);
        let mut now = Instant::now();
        let mut view = View::new();
        view.apply(&Event::Identified(SourceKind::Watched), now);
        view.apply(&replaced(&all, 1, 1), now);
        for _ in 0..random.u8(1..20) {
            now += Duration::from_millis(random.u64(0..30_000));
            view.apply(&sick_answer(&all, random), now);
            view.tick(now);
        }
        let dead: BTreeSet<_> = some(&all, random).into_iter().map(|i| i.instance_id).collect();
        let alive = |instance: &Instance| !dead.contains(&instance.instance_id);
        if random.bool() {
            // Nobody probes: everything that is held goes.
            view.tick(now + HOLD_LIMIT);
            assert_eq!(view.held().filter(|(_, seen)| !seen.is_stale()).count(), 0);
            return;
        }
        probe_all(&mut view, alive, now + S);
        view.tick(now + HOLD_LIMIT);
        for (_, seen) in view.held() {
            assert!(seen.is_stale() && alive(&seen.instance), "{seen:?}");
        }
        check_books(&view);
    });
}

#[test]
fn a_confirmed_empty_service_is_gone_with_the_answer_that_confirms_it() {
    each_history("confirmed empty", |random| {
        let others = (0..random.usize(1..20)).map(|n| instance("others", &format!("o{n}:1")));
        let gone = (0..random.usize(1..20)).map(|n| instance("gone", &format!("g{n}:1")));
        let (others, gone): (Vec<_>, Vec<_>) = (others.collect(), gone.collect());
        let all: Vec<_> = others.iter().chain(&gone).cloned().collect();
        let (now, answers) = (Instant::now(), random.bool());
        let mut view = View::new();
        view.apply(&Event::Identified(SourceKind::Watched), now);
        view.apply(&replaced(&all, 1, 1), now);
        view.apply(&replaced(&others, 1, 2), now);
        assert_eq!(view.count(), all.len());
        probe_all(&mut view, |_| answers, now);
        view.apply(&replaced(&others, 1, 2), now + CONFIRM_AFTER);
        let is_mass = gone.len() > others.len();
        assert_eq!(view.service(&name("gone")).is_none(), !(is_mass && answers));
        assert_eq!(view.service(&name("others")).unwrap().instances.len(), others.len());
    });
}

#[test]
fn what_the_source_takes_back_goes_at_once_whatever_is_held() {
    each_history("taken back", |random| {
        let all = fleet(random);
        let mut now = Instant::now();
        let mut view = View::new();
        view.apply(&Event::Identified(SourceKind::Watched), now);
        view.apply(&replaced(&all, 1, 1), now);
        for _ in 0..random.u8(0..20) {
            now += Duration::from_millis(random.u64(0..30_000));
            view.apply(&sick_answer(&all, random), now);
            probe_all(&mut view, |_| true, now);
        }
        let reasons = [RemovalReason::Deregistered, RemovalReason::Drained, RemovalReason::Removed];
        for instance in &all {
            let reason = *random.choice(&reasons).unwrap();
            let gone = removed(instance.service.as_str(), instance.instance_id.as_str(), reason);
            view.apply(&changed(vec![gone], 1), now);
            let left = view.service(&instance.service);
            assert!(left.is_none_or(|service| !service.instances.contains_key(&instance.instance_id)));
        }
        assert_eq!((view.count(), view.held().count()), (0, 0));
        view.apply(&changed(vec![upsert(&all[0])], 2), now);
        assert!(
            view.service(&all[0].service).unwrap().instances.contains_key(&id(all[0].instance_id.as_str()))
        );
    });
}
