//! The store's rules one by one, each with what it accepts and what it refuses.

use std::time::Duration;

use vertice_registry_api::register::Registration;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, SourceState, Status};

use super::{Change, Patch, Refusal, Registered, Registrant, Store, StoreLimits};

const ALICE: Registrant<'_> = Registrant { name: "alice", limited: true };
const EPOCH: Epoch = Epoch(7);

fn store(limits: StoreLimits) -> Store {
    Store::new(limits, EPOCH, 100, Duration::ZERO)
}

fn registration(service: &str, more: &str) -> Registration {
    let body = format!(r#"{{"service_name":"{service}","endpoint":"http://h:80"{more}}}"#);
    Registration::from_old_body(body.as_bytes()).unwrap()
}

fn register(store: &mut Store, more: &str, now: Duration) -> Result<Registered, Refusal> {
    store.register(registration("osint_service", more), ALICE, now, 0)
}

/// Ticks from `from_s` to `to_s` as the driver does.
fn run(store: &mut Store, from_s: u64, to_s: u64) {
    for tick in from_s * 10..=to_s * 10 {
        while store.advance(Duration::from_millis(tick * 100), 1_000).more {}
    }
}

#[test]
fn the_same_content_again_is_a_renewal_without_a_revision() {
    let mut store = store(StoreLimits::default());
    for more in ["", r#","instance_id":"a:1","incarnation":5"#, r#","instance_id":"b:1""#] {
        let first = register(&mut store, more, Duration::ZERO).unwrap();
        let position = store.position();
        let again = register(&mut store, more, Duration::from_millis(500)).unwrap();
        assert_eq!((again.generation, again.changed, again.created), (first.generation, false, false));
        assert_eq!(store.position(), position);
    }
}

#[test]
fn a_second_endpoint_replaces_the_old_clients_first() {
    let mut store = store(StoreLimits::default());
    let first = register(&mut store, "", Duration::ZERO).unwrap();
    let mut second = registration("osint_service", "");
    second.url = "http://other:80".parse().unwrap();
    second.incarnation = 99;
    let second = store.register(second, ALICE, Duration::ZERO, 0).unwrap();
    assert!(second.changed && !second.created && second.generation > first.generation);
    assert!(register(&mut store, "", Duration::ZERO).is_ok(), "an incarnation never locks old clients out");
    assert_eq!(store.stats().instances, 1);
}

#[test]
fn newer_incarnations_win_and_older_ones_change_nothing() {
    let mut store = store(StoreLimits::default());
    let at = |n: u32| format!(r#","instance_id":"a:1","incarnation":{n}"#);
    let first = register(&mut store, &at(5), Duration::ZERO).unwrap();
    let second = register(&mut store, &at(6), Duration::ZERO).unwrap();
    assert!(second.generation > first.generation && second.changed);
    let position = store.position();
    let late = register(&mut store, &at(5), Duration::ZERO);
    assert_eq!(late, Err(Refusal::OlderIncarnation { held: 6 }));
    let beat = store.beat("osint_service", "a:1", Some(first.generation), Duration::ZERO);
    assert_eq!(beat, Err(Refusal::OldGeneration));
    let future = store.beat("osint_service", "a:1", Some(second.generation + 1), Duration::ZERO);
    assert_eq!(future, Err(Refusal::Unknown));
    assert_eq!(store.position(), position);
}

#[test]
fn generations_go_on_after_a_deregistration() {
    let mut store = store(StoreLimits::default());
    let first = register(&mut store, "", Duration::ZERO).unwrap();
    assert_eq!(store.deregister("osint_service", "@legacy", None, Duration::ZERO), Ok(true));
    assert_eq!(store.deregister("osint_service", "@legacy", None, Duration::ZERO), Ok(false));
    let again = register(&mut store, "", Duration::ZERO).unwrap();
    assert!(again.created && again.generation > first.generation);
    let late = store.deregister("osint_service", "@legacy", Some(first.generation), Duration::ZERO);
    assert_eq!(late, Err(Refusal::OldGeneration));
}

#[test]
fn nothing_expires_while_warming_and_everything_dead_right_after() {
    let mut store = store(StoreLimits::default());
    register(&mut store, r#","ttl":5"#, Duration::ZERO).unwrap();
    run(&mut store, 0, 74);
    assert_eq!((store.state(), store.stats().instances), (SourceState::Warming, 1));
    run(&mut store, 75, 77);
    assert_eq!((store.state(), store.stats().instances), (SourceState::Serving, 0));
    assert_eq!(store.stats().expired_total, 1);
    register(&mut store, r#","ttl":5"#, Duration::from_secs(77)).unwrap();
    run(&mut store, 77, 96);
    assert_eq!(store.stats().instances, 1, "TTL and grace are 20 s");
    run(&mut store, 97, 99);
    assert_eq!(store.stats().instances, 0);
}

#[test]
fn a_shorter_lease_is_watched_at_once_and_a_long_one_is_not_cut() {
    let mut store = store(StoreLimits::default());
    run(&mut store, 0, 80);
    let now = Duration::from_secs(80);
    register(&mut store, r#","ttl":3600"#, now).unwrap();
    register(&mut store, r#","ttl":5"#, now).unwrap();
    register(&mut store, r#","ttl":3600,"instance_id":"a:1""#, now).unwrap();
    run(&mut store, 80, 102);
    assert_eq!(store.stats().instances, 1);
    run(&mut store, 102, 80 + 3614);
    assert_eq!(store.stats().instances, 1);
    run(&mut store, 80 + 3614, 80 + 3617);
    assert_eq!(store.stats().instances, 0);
}

#[test]
fn draining_ends_at_its_deadline_and_says_so() {
    let mut store = store(StoreLimits::default());
    let generation = register(&mut store, "", Duration::ZERO).unwrap().generation;
    let drain = Patch { status: Some(Status::Draining), deadline_s: Some(10), ..Patch::default() };
    let from = store.position();
    assert_eq!(
        store.patch("osint_service", "@legacy", Some(generation), &drain, Duration::ZERO),
        Ok(generation)
    );
    run(&mut store, 0, 9);
    assert_eq!(store.stats().instances, 1);
    run(&mut store, 9, 12);
    let changes = store.since(from, usize::MAX).unwrap().changes;
    assert!(
        matches!(changes.as_slice(), [Change::Upsert(_), Change::Remove { reason, .. }] if *reason == RemovalReason::Drained)
    );
}

#[test]
fn an_override_wins_survives_a_restart_of_the_instance_and_can_be_taken_back() {
    let mut store = store(StoreLimits::default());
    register(&mut store, r#","instance_id":"a:1","incarnation":1"#, Duration::ZERO).unwrap();
    let patch = |word| Patch { status_override: Some(word), ..Patch::default() };
    store.patch("osint_service", "a:1", None, &patch(Some(Status::Down)), Duration::ZERO).unwrap();
    assert!(store.view("osint_service", Duration::ZERO).unwrap().shown.is_none());
    register(&mut store, r#","instance_id":"a:1","incarnation":2"#, Duration::ZERO).unwrap();
    assert!(store.view("osint_service", Duration::ZERO).unwrap().shown.is_none());
    store.patch("osint_service", "a:1", None, &patch(None), Duration::ZERO).unwrap();
    assert!(store.view("osint_service", Duration::ZERO).unwrap().shown.is_some());
}

#[test]
fn each_limit_is_named_and_a_renewal_is_never_over_it() {
    let full = |what, limit| Err(Refusal::Full { what, limit });
    let mut small = store(StoreLimits { instances: 1, ..StoreLimits::default() });
    register(&mut small, "", Duration::ZERO).unwrap();
    assert_eq!(register(&mut small, r#","instance_id":"a:1""#, Duration::ZERO), full("instances", 1));
    assert!(register(&mut small, "", Duration::ZERO).is_ok());

    let mut small = store(StoreLimits { services: 1, ..StoreLimits::default() });
    register(&mut small, "", Duration::ZERO).unwrap();
    let other = small.register(registration("other_service", ""), ALICE, Duration::ZERO, 0);
    assert_eq!(other, full("services", 1));

    let mut small = store(StoreLimits { instances_per_principal: 1, ..StoreLimits::default() });
    register(&mut small, "", Duration::ZERO).unwrap();
    let more = r#","instance_id":"a:1""#;
    assert_eq!(register(&mut small, more, Duration::ZERO), full("instances of one principal", 1));
    let bob = Registrant { name: "bob", limited: true };
    assert!(small.register(registration("osint_service", more), bob, Duration::ZERO, 0).is_ok());
    assert!(register(&mut small, "", Duration::ZERO).is_ok());
}

#[test]
fn a_batch_renews_what_it_may_and_names_the_rest() {
    let mut store = store(StoreLimits::default());
    let a = register(&mut store, r#","instance_id":"a:1","ttl":30"#, Duration::ZERO).unwrap();
    let b = store.register(registration("other_service", ""), ALICE, Duration::ZERO, 0).unwrap();
    let leases = [(a.handle, a.generation), (a.handle, a.generation - 1), (b.handle, b.generation), (9, 9)];
    let only_osint = |name: &vertice_registry_api::ServiceName| name.as_str() == "osint_service";
    let batch = store.beat_batch(EPOCH, &leases, only_osint, Duration::ZERO);
    assert_eq!((batch.renewed, batch.shortest_ttl_s), (1, Some(30)));
    assert_eq!(batch.lost, [a.handle, b.handle, 9]);
    let other_epoch = store.beat_batch(Epoch(8), &leases, |_| true, Duration::ZERO);
    assert_eq!(other_epoch.lost.len(), leases.len(), "handles mean nothing in another epoch");
}

#[test]
fn a_handle_that_is_used_again_does_not_obey_its_former_owner() {
    let mut store = store(StoreLimits::default());
    let first = register(&mut store, r#","instance_id":"a:1""#, Duration::ZERO).unwrap();
    store.deregister("osint_service", "a:1", Some(first.generation), Duration::ZERO).unwrap();
    let second = register(&mut store, r#","instance_id":"b:1""#, Duration::ZERO).unwrap();
    assert_eq!(first.handle, second.handle);
    let batch = store.beat_batch(EPOCH, &[(first.handle, first.generation)], |_| true, Duration::ZERO);
    assert_eq!(batch.lost, [first.handle]);
}

#[test]
fn two_processes_with_one_id_do_not_take_it_from_each_other_for_ever() {
    let mut store = store(StoreLimits::default());
    let at = |n: u32| format!(r#","instance_id":"a:1","incarnation":{n}"#);
    for number in 1..=6 {
        register(&mut store, &at(number), Duration::from_secs(number.into())).unwrap();
    }
    let position = store.position();
    let sixth = register(&mut store, &at(7), Duration::from_secs(7));
    assert!(matches!(sixth, Err(Refusal::Flapping { begins: true, .. })), "{sixth:?}");
    assert_eq!((store.position(), store.stats().quarantined), (position, 1));
    assert!(register(&mut store, &at(6), Duration::from_secs(8)).is_ok(), "the holder renews");
    assert!(store.deregister("osint_service", "a:1", None, Duration::from_secs(8)).unwrap());
    assert_eq!(store.stats().quarantined, 0, "it goes with the record");
    assert!(register(&mut store, &at(8), Duration::from_secs(9)).is_ok());
}

#[test]
fn without_incarnations_only_another_address_is_another_process() {
    let mut store = store(StoreLimits::default());
    for number in 0..50 {
        register(&mut store, &format!(r#","metadata":{{"n":"{number}"}}"#), Duration::ZERO).unwrap();
    }
    let mut refused = 0;
    for number in 0..50 {
        let mut wanted = registration("osint_service", "");
        wanted.url = format!("http://h{}:80", number % 2).parse().unwrap();
        refused += usize::from(store.register(wanted, ALICE, Duration::ZERO, 0).is_err());
    }
    assert!(refused > 20, "{refused}");
}
