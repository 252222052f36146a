//! The view, rule by rule: each with what it does and what it must not do.

use super::*;
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

fn replaced(instances: &[Instance], epoch: u128, revision: u64) -> Event {
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

fn poll(instances: &[Instance], unread: &[&str]) -> Event {
    Event::Replaced {
        instances: instances.iter().cloned().map(Arc::new).collect(),
        unread: unread.iter().map(|n| name(n)).collect(),
        position: None,
        state: SourceState::Serving,
        authority: Authority::Partial,
    }
}

fn changed(changes: Vec<SetChange>, revision: u64) -> Event {
    Event::Changed { changes, position: Some(at(1, revision)), state: SourceState::Serving }
}

fn upsert(instance: &Instance) -> SetChange {
    SetChange::Upsert(Arc::new(instance.clone()))
}

fn removed(service: &str, instance_id: &str, reason: RemovalReason) -> SetChange {
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

#[test]
fn missing_from_the_same_history_of_a_serving_registry_is_removed() {
    let now = Instant::now();
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let mut view = watched(now);
    view.apply(&replaced(&[a.clone(), b], 1, 1), now);
    assert_eq!(names(&view.apply(&replaced(&[a], 1, 9), now)), ["beta"]);
    assert_eq!(shown(&view), ["alpha a:1"]);
    view.apply(&replaced(&[], 1, 10), now);
    assert_eq!(shown(&view), [""; 0], "a proven empty set of the same history");
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
        let held: Vec<_> = view.held().map(|(n, seen)| (n.as_str(), seen.hold.unwrap().reason)).collect();
        assert_eq!(held, [("beta", reason)]);
        // What is held was not known in this history: its next read proves nothing new about it.
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
    assert_eq!(shown(&view), ["alpha a:1 held", "beta b:1 held"]);
    let mut same = watched(now);
    same.apply(&replaced(&both, 1, 1), now);
    same.apply(&Event::Identified(SourceKind::Watched), now);
    same.apply(&replaced(&[], 1, 2), now);
    assert_eq!(shown(&same), [""; 0], "the same kind again is no news");
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
