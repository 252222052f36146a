//! The view, rule by rule: each with what it does and what it must not do.

use super::*;
use crate::event::Authority;
use crate::test_data::{at, id, instance, name};
use vertice_registry_api::watch::RemovalReason;

const S: Duration = Duration::from_secs(1);

fn watched(now: Instant) -> View {
    let mut view = View::new();
    view.apply(&Event::Identified(SourceKind::Watched), now);
    view
}

fn polled(now: Instant) -> View {
    let mut view = View::new();
    view.apply(&Event::Identified(SourceKind::Polled), now);
    view
}

pub(super) fn replaced(instances: &[Instance], epoch: u128, revision: u64) -> Event {
    Event::Replaced {
        instances: instances.iter().cloned().map(Arc::new).collect(),
        unread: BTreeSet::new(),
        position: Some(at(epoch, revision)),
        state: SourceState::Serving,
        authority: Authority::Complete,
    }
}

fn in_state(state: SourceState, event: Event) -> Event {
    match event {
        Event::Replaced { instances, unread, position, authority, .. } => {
            Event::Replaced { instances, unread, position, state, authority }
        }
        Event::Identified(_)
        | Event::Changed { .. }
        | Event::Alive { .. }
        | Event::Rejected { .. }
        | Event::Failed { .. } => event,
    }
}

pub(super) fn poll(instances: &[Instance], unread: &[&str]) -> Event {
    Event::Replaced {
        instances: instances.iter().cloned().map(Arc::new).collect(),
        unread: unread.iter().map(|n| name(n)).collect(),
        position: None,
        state: SourceState::Serving,
        authority: Authority::Partial,
    }
}

pub(super) fn changed(changes: Vec<SetChange>, revision: u64) -> Event {
    Event::Changed { changes, position: Some(at(1, revision)), state: SourceState::Serving }
}

pub(super) fn upsert(instance: &Instance) -> SetChange {
    SetChange::Upsert(Arc::new(instance.clone()))
}

pub(super) fn removed(service: &str, instance_id: &str, reason: RemovalReason) -> SetChange {
    SetChange::Removed { service: name(service), instance_id: id(instance_id), reason }
}

/// `service id` of every instance, with `held` or `stale` behind it.
fn shown(view: &View) -> Vec<String> {
    let one = |service: &ServiceName, seen: &SeenInstance| {
        let mark = match seen.hold {
            None => "",
            Some(_) if seen.is_stale() => " stale",
            Some(_) => " held",
        };
        format!("{service} {}{mark}", seen.instance.instance_id)
    };
    view.services().flat_map(|(n, s)| s.instances.values().map(move |seen| one(n, seen))).collect()
}

fn names(names: &BTreeSet<ServiceName>) -> Vec<&str> {
    names.iter().map(ServiceName::as_str).collect()
}

#[test]
fn upserts_and_removals_with_a_reason_apply_at_once() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    for reason in
        [RemovalReason::Deregistered, RemovalReason::Drained, RemovalReason::Expired, RemovalReason::Removed]
    {
        let mut view = watched(now);
        view.apply(&replaced(std::slice::from_ref(&a), 1, 1), now);
        let touched = view.apply(&changed(vec![upsert(&b), removed("alpha", "a:1", reason)], 3), now);
        assert_eq!(names(&touched), ["alpha", "beta"]);
        assert_eq!(shown(&view), ["beta b:1"]);
        assert_eq!(view.status().position, Some(at(1, 3)));
        assert!(view.service(&name("alpha")).is_none());
    }
}

#[test]
fn the_same_content_again_is_no_change() {
    let now = Instant::now();
    let a = instance("alpha", "a:1");
    let mut view = watched(now);
    view.apply(&replaced(std::slice::from_ref(&a), 1, 1), now);
    let first = view.service(&name("alpha")).unwrap().instances[&id("a:1")].instance.clone();
    assert!(view.apply(&replaced(std::slice::from_ref(&a), 2, 1), now).is_empty());
    assert!(view.apply(&changed(vec![upsert(&a)], 2), now).is_empty());
    assert!(view.apply(&changed(vec![removed("alpha", "b:1", RemovalReason::Expired)], 3), now).is_empty());
    assert!(Arc::ptr_eq(&first, &view.service(&name("alpha")).unwrap().instances[&id("a:1")].instance));
    let heavier = Instance { weight: 200, ..a };
    assert_eq!(names(&view.apply(&changed(vec![upsert(&heavier)], 4), now)), ["alpha"]);
}

fn reasons(view: &View) -> Vec<(&str, HoldReason)> {
    view.held().map(|(name, seen)| (name.as_str(), seen.hold.unwrap().reason)).collect()
}

fn ends(view: &View) -> Vec<(&'static str, u64)> {
    view.holds_ended().filter(|(_, count)| *count > 0).map(|(end, count)| (end.as_str(), count)).collect()
}

#[test]
fn missing_from_the_same_history_goes_when_a_second_independent_read_agrees() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let mut view = watched(now);
    view.apply(&replaced(&[a.clone(), b], 1, 1), now);
    let without = replaced(std::slice::from_ref(&a), 1, 9);
    assert_eq!(names(&view.apply(&without, now)), ["beta"]);
    assert_eq!(reasons(&view), [("beta", HoldReason::Missing)]);
    assert!(!view.wants_read(now + CONFIRM_AFTER - S));
    assert!(view.apply(&without, now + CONFIRM_AFTER - S).is_empty(), "too soon to be independent");
    assert!(view.wants_read(now + CONFIRM_AFTER));
    assert!(!view.wants_read(now + CONFIRM_AFTER + S), "asked for once in a while");
    assert_eq!(names(&view.apply(&without, now + CONFIRM_AFTER)), ["beta"]);
    assert_eq!(shown(&view), ["alpha a:1"]);
    assert_eq!(ends(&view), [("confirmed", 1)]);
    assert!(!view.wants_read(now + 9 * CONFIRM_AFTER));
}

#[test]
fn a_second_read_proves_nothing_where_the_first_history_is_over_or_the_registry_is_not_serving() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let without = |epoch| replaced(std::slice::from_ref(&a), epoch, 9);
    let late = now + 2 * CONFIRM_AFTER;
    let first = |event| {
        let mut view = watched(now);
        view.apply(&replaced(&[a.clone(), b.clone()], 1, 1), now);
        view.apply(&event, now);
        view
    };
    for (second, reason) in [
        (without(2), HoldReason::NewEpoch),
        (in_state(SourceState::Warming, without(1)), HoldReason::Missing),
        (poll(std::slice::from_ref(&a), &[]), HoldReason::NoHistory),
    ] {
        let mut view = first(without(1));
        view.apply(&second, late);
        assert_eq!(reasons(&view), [("beta", reason)]);
    }
    let mut view = first(without(2));
    for round in 1..20 {
        view.apply(&without(2), now + round * CONFIRM_AFTER);
        assert!(!view.wants_read(now + round * CONFIRM_AFTER + S));
    }
    assert_eq!(reasons(&view), [("beta", HoldReason::NewEpoch)], "however often it is repeated");
    // Not serving first, serving then, in one history: agreed.
    let mut view = first(in_state(SourceState::Preserving, without(1)));
    assert!(!view.wants_read(late), "it would say the same again");
    view.apply(&Event::Alive { position: Some(at(1, 9)), state: SourceState::Serving }, late);
    assert!(view.wants_read(late));
    view.apply(&without(1), late);
    assert_eq!(shown(&view), ["alpha a:1"]);
}

#[test]
fn absence_alone_takes_at_most_half_of_what_may_be_alive() {
    let now = Instant::now();
    let all: Vec<_> = (0..10).map(|n| instance(&format!("service{n}"), &format!("h{n}:1"))).collect();
    let late = now + CONFIRM_AFTER;
    let run = |kept: usize, probe: Option<bool>| {
        let mut view = watched(now);
        view.apply(&replaced(&all, 1, 1), now);
        view.apply(&replaced(&all[..kept], 1, 2), now);
        if let Some(alive) = probe {
            for instance in &all[kept..] {
                view.record_probe(&instance.service, &instance.instance_id, alive, now);
            }
        }
        view.apply(&replaced(&all[..kept], 1, 2), late);
        view.count()
    };
    assert_eq!([run(5, None), run(5, Some(true)), run(5, Some(false))], [5, 5, 5], "half: agreed");
    assert_eq!([run(4, None), run(4, Some(true))], [10, 10], "more than half: none");
    assert_eq!([run(4, Some(false)), run(0, Some(false))], [4, 0], "the dead go all");
    assert_eq!([run(0, None), run(0, Some(true))], [10, 10]);
}

#[test]
fn expiries_beyond_the_budget_are_held_and_probes_decide() {
    let now = Instant::now();
    let all: Vec<_> = (0..4).map(|n| instance("alpha", &format!("h{n}:1"))).collect();
    let mut view = watched(now);
    view.apply(&replaced(&all, 1, 1), now);
    let expired: Vec<_> =
        (0..3).map(|n| removed("alpha", &format!("h{n}:1"), RemovalReason::Expired)).collect();
    assert_eq!(names(&view.apply(&changed(expired, 4), now)), ["alpha"]);
    assert_eq!(shown(&view), ["alpha h1:1 held", "alpha h2:1 held", "alpha h3:1"]);
    assert_eq!(view.held().next().unwrap().1.hold.unwrap().reason, HoldReason::Expired);
    // The registry repeating itself proves nothing new; a beat that comes through does, and so do probes.
    for round in 1..9 {
        view.apply(&replaced(&all[3..], 1, 4), now + round * CONFIRM_AFTER);
    }
    assert_eq!(view.count(), 3);
    view.apply(&changed(vec![upsert(&all[1])], 5), now);
    let (alpha, dead) = (name("alpha"), id("h2:1"));
    view.record_probe(&alpha, &dead, false, now);
    view.record_probe(&alpha, &dead, false, now);
    assert_eq!(shown(&view), ["alpha h1:1", "alpha h3:1"]);
    assert_eq!(ends(&view), [("named_again", 1), ("probes_failed", 1)]);
    // A word of its own is not an expiry.
    let gone = vec![
        removed("alpha", "h1:1", RemovalReason::Deregistered),
        removed("alpha", "h3:1", RemovalReason::Removed),
    ];
    view.apply(&changed(gone, 7), now);
    assert_eq!(view.count(), 0);
}

fn restored(instances: &[Instance], age: Duration, epoch: Option<u128>, now: Instant) -> View {
    let known = |i: &Instance| Known { instance: Arc::new(i.clone()), last_proof: now - age };
    let position = epoch.map(|epoch| at(epoch, 1));
    View::restore(instances.iter().map(known).collect(), Some(SourceKind::Watched), position, now)
}

#[test]
fn the_last_known_good_is_served_held_until_a_source_speaks() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let both = [a.clone(), b.clone()];
    let view = restored(&both, 12 * S, Some(1), now);
    assert!(view.is_complete());
    assert_eq!(shown(&view), ["alpha a:1 held", "beta b:1 held"]);
    assert_eq!((view.status().last_proof, view.status().position), (Some(now - 12 * S), None));
    for (event, reason) in [
        (replaced(std::slice::from_ref(&a), 1, 5), HoldReason::Missing),
        (replaced(std::slice::from_ref(&a), 2, 5), HoldReason::NewEpoch),
        (in_state(SourceState::Warming, replaced(std::slice::from_ref(&a), 1, 5)), HoldReason::NotServing),
        (poll(std::slice::from_ref(&a), &[]), HoldReason::NoHistory),
    ] {
        let mut view = view.clone();
        view.apply(&event, now);
        assert_eq!(reasons(&view), [("beta", reason)]);
    }
    let mut other_kind = view.clone();
    other_kind.apply(&Event::Identified(SourceKind::Polled), now);
    other_kind.apply(&Event::Identified(SourceKind::Watched), now);
    other_kind.apply(&replaced(&[], 1, 5), now);
    assert_eq!(reasons(&other_kind)[0].1, HoldReason::NewEpoch, "the kind on the disk is a guess");
    assert!(!restored(&[], S, Some(1), now).is_complete(), "nothing is no knowledge");
}

#[test]
fn what_a_new_history_has_not_heard_of_yet_is_not_dropped_by_it_after_a_restart() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("alpha", "a:2")];
    let mut view = watched(now);
    view.apply(&replaced(&both, 1, 5), now);
    assert_eq!(view.position_of_all(), Some(at(1, 5)));
    let forgetful = replaced(&both[..1], 2, 1);
    view.apply(&forgetful, now);
    assert_eq!(reasons(&view), [("alpha", HoldReason::NewEpoch)]);
    let on_disk = view.position_of_all().map(|position| position.epoch.0);
    let mut again = restored(&both, S, on_disk, now);
    for seconds in [0, 6, 12] {
        again.apply(&forgetful, now + seconds * S);
    }
    assert_eq!(reasons(&again), [("alpha", HoldReason::NewEpoch)]);
    view.apply(&replaced(&both, 2, 2), now);
    assert_eq!(view.position_of_all(), Some(at(2, 2)));
}

#[test]
fn what_expired_in_a_mass_is_still_held_after_a_restart() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("alpha", "a:2")];
    let mut view = watched(now);
    view.apply(&replaced(&both, 1, 5), now);
    let expired = |id| removed("alpha", id, RemovalReason::Expired);
    view.apply(&changed(vec![expired("a:1"), expired("a:2")], 7), now);
    assert_eq!(shown(&view), ["alpha a:2 held"], "one is in the budget");
    let mut again = restored(&both[1..], S, view.position_of_all().map(|at| at.epoch.0), now);
    for seconds in [0, 6, 12] {
        again.apply(&replaced(&[], 1, 7), now + seconds * S);
    }
    assert_eq!(shown(&again), ["alpha a:2 held"]);
}

#[test]
fn what_the_disk_says_is_disproved_by_probes_only_while_others_are_answered() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("beta", "b:1")];
    let mut view = restored(&both, S, Some(1), now);
    let probe = |view: &mut View, instance: &Instance, alive| {
        view.record_probe(&instance.service, &instance.instance_id, alive, now)
    };
    for _ in 0..9 {
        assert!(probe(&mut view, &both[0], false).is_empty());
        assert!(probe(&mut view, &both[1], false).is_empty());
    }
    probe(&mut view, &both[1], true);
    assert_eq!(names(&probe(&mut view, &both[0], false)), ["alpha"]);
    assert_eq!(shown(&view), ["beta b:1 held"]);
    view.tick(now + HOLD_LIMIT);
    assert_eq!(shown(&view), ["beta b:1 stale"]);
}

#[test]
fn an_operator_lets_go_what_is_held_and_nothing_else() {
    let now = Instant::now();
    let all = [
        instance("alpha", "a:1"),
        instance("alpha", "a:2"),
        instance("beta", "b:1"),
        instance("gamma", "c:1"),
    ];
    let mut view = watched(now);
    view.apply(&replaced(&all, 1, 1), now);
    view.apply(&replaced(&all[3..], 2, 1), now);
    let (alpha, gamma) = (name("alpha"), name("gamma"));
    assert_eq!(view.clone().release(None, None).0.len(), 3);
    assert_eq!(view.clone().release(Some(&alpha), None).0.len(), 2);
    assert!(view.clone().release(Some(&gamma), None).0.is_empty(), "vouched for");
    let (released, touched) = view.release(Some(&alpha), Some(&id("a:2")));
    assert_eq!(released, [Released { service: alpha, instance_id: id("a:2") }]);
    assert_eq!(names(&touched), ["alpha"]);
    assert_eq!(shown(&view), ["alpha a:1 held", "beta b:1 held", "gamma c:1"]);
    assert_eq!(ends(&view), [("released", 1)]);
}

#[test]
fn missing_from_any_other_read_is_held() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let cases = [
        (replaced(std::slice::from_ref(&a), 2, 9), HoldReason::NewEpoch),
        (in_state(SourceState::Warming, replaced(std::slice::from_ref(&a), 1, 9)), HoldReason::NotServing),
        (in_state(SourceState::Preserving, replaced(std::slice::from_ref(&a), 1, 9)), HoldReason::NotServing),
        (in_state(SourceState::Degraded, replaced(std::slice::from_ref(&a), 1, 9)), HoldReason::NotServing),
        (poll(std::slice::from_ref(&a), &[]), HoldReason::NoHistory),
    ];
    for (event, reason) in cases {
        let mut view = watched(now);
        view.apply(&replaced(&[a.clone(), b.clone()], 1, 1), now);
        assert_eq!(names(&view.apply(&event, now)), ["beta"], "{reason:?}");
        assert_eq!(shown(&view), ["alpha a:1", "beta b:1 held"]);
        assert_eq!(reasons(&view), [("beta", reason)]);
        assert!(view.apply(&event, now).is_empty());
        view.apply(&replaced(std::slice::from_ref(&a), 2, 10), now);
        assert_eq!(shown(&view), ["alpha a:1", "beta b:1 held"]);
    }
}

#[test]
fn an_empty_answer_holds_everything() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("beta", "b:1")];
    let mut view = polled(now);
    view.apply(&poll(&both, &[]), now);
    view.apply(&poll(&[], &[]), now);
    assert_eq!(shown(&view), ["alpha a:1 held", "beta b:1 held"]);
}

#[test]
fn another_kind_of_registry_is_another_history() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("beta", "b:1")];
    let mut view = watched(now);
    view.apply(&replaced(&both, 1, 1), now);
    view.apply(&Event::Identified(SourceKind::Polled), now);
    view.apply(&Event::Identified(SourceKind::Watched), now);
    view.apply(&replaced(&[], 1, 2), now);
    assert_eq!(reasons(&view), [("alpha", HoldReason::NewEpoch), ("beta", HoldReason::NewEpoch)]);
    let mut same = watched(now);
    same.apply(&replaced(&both, 1, 1), now);
    same.apply(&Event::Identified(SourceKind::Watched), now);
    same.apply(&replaced(&[], 1, 2), now);
    assert_eq!(
        reasons(&same),
        [("alpha", HoldReason::Missing), ("beta", HoldReason::Missing)],
        "the same kind again is no news"
    );
}

#[test]
fn what_could_not_be_read_is_not_missing() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("beta", "b:1")];
    let mut view = polled(now);
    view.apply(&poll(&both, &[]), now);
    assert!(view.apply(&poll(&both[..1], &["beta"]), now).is_empty());
    assert_eq!(shown(&view), ["alpha a:1", "beta b:1"]);
}

/// A view with one held instance, since `now`.
fn holding(now: Instant) -> View {
    let mut view = polled(now);
    view.apply(&poll(&[instance("alpha", "a:1")], &[]), now);
    view.apply(&poll(&[], &[]), now);
    assert_eq!(shown(&view), ["alpha a:1 held"]);
    view
}

#[test]
fn a_hold_ends_when_the_source_names_the_instance_again() {
    let now = Instant::now();
    let again = instance("alpha", "a:1");
    for event in [poll(std::slice::from_ref(&again), &[]), changed(vec![upsert(&again)], 1)] {
        let mut view = holding(now);
        assert_eq!(names(&view.apply(&event, now)), ["alpha"]);
        assert_eq!(shown(&view), ["alpha a:1"]);
        assert_eq!(view.held().count(), 0);
        assert!(view.tick(now + 2 * HOLD_LIMIT).is_empty());
    }
}

#[test]
fn a_hold_ends_when_its_url_has_another_id() {
    let now = Instant::now();
    let renamed = Instance { instance_id: id("new"), ..instance("alpha", "a:1") };
    for event in [poll(std::slice::from_ref(&renamed), &[]), changed(vec![upsert(&renamed)], 1)] {
        let mut view = holding(now);
        view.apply(&event, now);
        assert_eq!(shown(&view), ["alpha new"]);
    }
    let elsewhere = instance("alpha", "b:1");
    let other_service = Instance { instance_id: id("new"), ..instance("alpha", "a:1") };
    let other_service = Instance { service: name("beta"), ..other_service };
    let mut view = holding(now);
    view.apply(&changed(vec![upsert(&elsewhere), upsert(&other_service)], 1), now);
    assert_eq!(shown(&view), ["alpha a:1 held", "alpha b:1", "beta new"]);
}

#[test]
fn two_failed_probes_in_a_row_remove_a_held_instance_and_only_that() {
    let now = Instant::now();
    let alpha = name("alpha");
    let mut view = holding(now);
    assert!(view.record_probe(&alpha, &id("a:1"), false, now).is_empty());
    assert!(view.record_probe(&alpha, &id("a:1"), true, now).is_empty());
    assert!(view.record_probe(&alpha, &id("a:1"), false, now).is_empty());
    assert_eq!(shown(&view), ["alpha a:1 held"]);
    assert_eq!(names(&view.record_probe(&alpha, &id("a:1"), false, now)), ["alpha"]);
    assert_eq!(shown(&view), [""; 0]);

    let mut vouched = polled(now);
    vouched.apply(&poll(&[instance("alpha", "a:1")], &[]), now);
    for _ in 0..9 {
        assert!(vouched.record_probe(&alpha, &id("a:1"), false, now).is_empty());
    }
    assert!(vouched.record_probe(&alpha, &id("unknown"), false, now).is_empty());
    assert_eq!(shown(&vouched), ["alpha a:1"], "a probe says nothing where the source vouches");
}

#[test]
fn after_ten_minutes_only_what_answers_stays_and_it_is_marked() {
    let now = Instant::now();
    let alpha = name("alpha");
    let mut answering = holding(now);
    answering.record_probe(&alpha, &id("a:1"), true, now);
    assert!(answering.tick(now + HOLD_LIMIT - S).is_empty());
    assert_eq!(shown(&answering), ["alpha a:1 held"]);
    assert_eq!(names(&answering.tick(now + HOLD_LIMIT)), ["alpha"]);
    assert_eq!(shown(&answering), ["alpha a:1 stale"]);
    assert!(answering.tick(now + 3 * HOLD_LIMIT).is_empty());
    assert_eq!(answering.held().count(), 1, "and is probed on");
    answering.record_probe(&alpha, &id("a:1"), false, now);
    answering.record_probe(&alpha, &id("a:1"), false, now);
    assert_eq!(shown(&answering), [""; 0]);

    let mut never_probed = holding(now);
    assert!(never_probed.tick(now + HOLD_LIMIT - S).is_empty());
    assert_eq!(names(&never_probed.tick(now + HOLD_LIMIT)), ["alpha"]);
    assert_eq!(shown(&never_probed), [""; 0]);

    let mut last_failed = holding(now);
    last_failed.record_probe(&alpha, &id("a:1"), true, now);
    last_failed.record_probe(&alpha, &id("a:1"), false, now);
    last_failed.tick(now + HOLD_LIMIT);
    assert_eq!(shown(&last_failed), [""; 0]);
}

#[test]
fn failures_change_nothing_but_the_status() {
    let now = Instant::now();
    let mut view = watched(now);
    view.apply(&replaced(&[instance("alpha", "a:1")], 1, 1), now);
    let failed = |error| Event::Failed { error, retry_in: S };
    assert!(view.apply(&failed(SourceError::Status(500)), now + S).is_empty());
    assert!(view.apply(&failed(SourceError::Digest), now + 2 * S).is_empty());
    assert_eq!(shown(&view), ["alpha a:1"]);
    let status = view.status();
    assert_eq!(status.last_error, Some(SourceError::Digest));
    assert_eq!((status.failing_since, status.last_proof), (Some(now + S), Some(now)));
    view.apply(&Event::Alive { position: Some(at(1, 1)), state: SourceState::Preserving }, now + 3 * S);
    assert_eq!(view.status().failing_since, None);
    assert_eq!(view.status().state, Some(SourceState::Preserving));
    assert_eq!(view.status().last_error, Some(SourceError::Digest), "kept for the record");
}

#[test]
fn complete_after_a_whole_read_and_for_ever() {
    let now = Instant::now();
    let mut view = polled(now);
    assert!(!view.is_complete());
    view.apply(&changed(vec![upsert(&instance("alpha", "a:1"))], 1), now);
    view.apply(&Event::Alive { position: None, state: SourceState::Serving }, now);
    view.apply(&poll(&[], &["alpha"]), now);
    assert!(!view.is_complete(), "nothing could be read");
    view.apply(&poll(&[instance("alpha", "a:1")], &["beta"]), now);
    assert!(view.is_complete());
    view.apply(&poll(&[], &["alpha", "beta"]), now);
    assert!(view.is_complete());
    let mut empty = watched(now);
    empty.apply(&replaced(&[], 1, 0), now);
    assert!(empty.is_complete(), "a whole empty snapshot is an answer");
}

#[test]
fn proof_is_of_everything_when_watched_and_of_what_was_read_when_polled() {
    let now = Instant::now();
    let both = [instance("alpha", "a:1"), instance("beta", "b:1")];
    let proofs =
        |view: &View| -> Vec<_> { view.services().map(|(_, s)| (s.last_proof - now).as_secs()).collect() };
    let mut view = watched(now);
    view.apply(&replaced(&both, 1, 1), now);
    view.apply(&Event::Alive { position: Some(at(1, 1)), state: SourceState::Serving }, now + 5 * S);
    assert_eq!(proofs(&view), [5, 5]);
    view.apply(&changed(vec![upsert(&both[0])], 2), now + 9 * S);
    assert_eq!(proofs(&view), [9, 9]);
    view.apply(&replaced(&both[..1], 2, 1), now + 10 * S);
    assert_eq!(proofs(&view), [10, 9], "nobody vouches for what is held");

    let mut view = polled(now);
    view.apply(&poll(&both, &[]), now);
    view.apply(&Event::Alive { position: None, state: SourceState::Serving }, now + 5 * S);
    view.apply(&poll(&both, &[]), now + 6 * S);
    assert_eq!(proofs(&view), [0, 0], "repeating the last good reads proves nothing");
    view.apply(
        &Event::Changed { changes: vec![upsert(&both[1])], position: None, state: SourceState::Serving },
        now + 7 * S,
    );
    assert_eq!(proofs(&view), [0, 7]);
}

#[test]
fn rejects_are_replaced_as_a_whole() {
    let now = Instant::now();
    let mut view = polled(now);
    let reject = Reject { name: "'a/b'".into(), reason: "no".into() };
    view.apply(&Event::Rejected { rejects: vec![reject.clone()], total: 7 }, now);
    assert_eq!((view.status().rejects.as_slice(), view.status().rejects_total), ([reject].as_slice(), 7));
    view.apply(&Event::Rejected { rejects: vec![], total: 0 }, now);
    assert_eq!(view.status().rejects_total, 0);
}
