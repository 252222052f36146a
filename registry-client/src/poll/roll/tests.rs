//! The roll, rule by rule.

use std::sync::Arc;

use super::*;
use crate::error::SourceError;
use crate::test_data::{instance, name};
use vertice_registry_api::{Instance, InstanceId, ServiceUrl};

const S: Duration = Duration::from_secs(1);

fn record(service: &str, url: &str, registered_at_s: u64) -> Record {
    let instance = Instance {
        instance_id: InstanceId::legacy(),
        url: ServiceUrl::parse(url).unwrap(),
        ..instance(service, "x:1")
    };
    let registered_at = Duration::from_secs(registered_at_s);
    Record { instances: vec![Arc::new(instance)], registered_at, remark: None }
}

fn good(service: &str) -> Read {
    Read::Good(record(service, "http://a:1", 100))
}

fn failed() -> Read {
    Read::Failed(SourceError::Status(500))
}

fn roll(names: &[&str], now: Instant) -> Roll {
    let mut roll = Roll::new(now);
    roll.listed(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>(), now);
    roll
}

/// Names of the instances, and names that could not be read.
fn said(roll: &Roll) -> (Vec<String>, Vec<String>) {
    let event = roll.replaced();
    let Event::Replaced { instances, unread, authority: Authority::Partial, position: None, .. } = event
    else {
        panic!("{event:?}")
    };
    let names = instances.iter().map(|i| i.service.to_string()).collect();
    (names, unread.iter().map(ToString::to_string).collect())
}

#[test]
fn a_good_name_is_read_rarely_and_a_failing_one_less_and_less_often() {
    let start = Instant::now();
    let mut roll = roll(&["alpha", "beta"], start);
    assert_eq!(roll.take_due(start), Some(name("alpha")));
    assert_eq!(roll.take_due(start), Some(name("beta")));
    assert_eq!(roll.take_due(start + 1000 * S), None, "both are being read");
    roll.read(name("alpha"), good("alpha"), start, 0.5);
    let mut now = start;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        roll.read(name("beta"), failed(), now, 0.5);
        let (due, _) = roll.unknown.pop_first().unwrap();
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(roll.next_due(), Some(start + 30 * S));
}

#[test]
fn failures_never_touch_the_last_good_record() {
    let now = Instant::now();
    let mut roll = roll(&["alpha"], now);
    assert_eq!(roll.read(name("alpha"), good("alpha"), now, 0.5).len(), 1);
    for read in [failed(), Read::Failed(SourceError::Timeout(S)), Read::Broken("an endpoint".into())] {
        assert_eq!(roll.read(name("alpha"), read, now, 0.5), []);
        assert_eq!(said(&roll), (vec!["alpha".into()], vec![]));
    }
}

#[test]
fn only_absence_makes_a_name_missing() {
    let now = Instant::now();
    let mut roll = roll(&["alpha", "beta", "gamma"], now);
    roll.read(name("alpha"), good("alpha"), now, 0.5);
    roll.read(name("beta"), failed(), now, 0.5);
    roll.read(name("gamma"), Read::Absent, now, 0.5);
    assert_eq!(said(&roll), (vec!["alpha".into()], vec!["beta".into()]));
    roll.read(name("alpha"), Read::Absent, now, 0.5);
    assert_eq!(said(&roll), (vec![], vec!["beta".into()]));
    roll.listed(&[], now);
    assert_eq!(said(&roll), (vec![], vec![]), "an empty list: everything is missing");
}

#[test]
fn the_first_whole_read_waits_for_every_name_but_not_for_ever() {
    let now = Instant::now();
    let mut roll = roll(&["alpha", "beta"], now);
    assert!(!roll.is_whole(now));
    roll.read(name("alpha"), good("alpha"), now, 0.5);
    assert!(!roll.is_whole(now));
    for _ in 0..3 {
        roll.read(name("beta"), failed(), now, 0.5);
    }
    assert!(roll.is_whole(now), "beta was tried often enough");

    let mut late = self::roll(&["alpha", "beta"], now);
    late.read(name("alpha"), good("alpha"), now, 0.5);
    assert!(!late.is_whole(now + 29 * S));
    assert!(late.is_whole(now + 30 * S));

    let mut mute = self::roll(&["alpha"], now);
    for _ in 0..9 {
        mute.read(name("alpha"), failed(), now, 0.5);
    }
    assert!(!mute.is_whole(now + 999 * S), "not one name answered: nothing is known");
    assert!(self::roll(&[], now).is_whole(now), "an empty list is a whole answer");
}

#[test]
fn names_that_break_our_rules_are_counted_and_left_out_singly() {
    let now = Instant::now();
    let mut roll = roll(&["", "a/b", "../x", "A B", "alpha"], now);
    assert_eq!(roll.take_due(now), Some(name("alpha")));
    assert_eq!(roll.take_due(now), None);
    roll.read(name("alpha"), Read::Broken("the endpoint".into()), now, 0.5);
    let (rejects, total) = roll.rejects();
    assert_eq!((rejects.len(), total), (5, 5));
    roll.read(name("alpha"), good("alpha"), now, 0.5);
    assert_eq!(roll.rejects().1, 4, "mended");
    let many: Vec<_> = (0..500).map(|n| format!("A{n}")).collect();
    roll.listed(&many, now);
    let (rejects, total) = roll.rejects();
    assert_eq!((rejects.len(), total), (MAX_REJECTS, 500));
}

#[test]
fn a_replicas_frozen_cache_does_not_bring_an_old_endpoint_back() {
    let now = Instant::now();
    let mut roll = roll(&["alpha"], now);
    let read = |roll: &mut Roll, url: &str, registered_at_s, at: Instant| {
        roll.read(name("alpha"), Read::Good(record("alpha", url, registered_at_s)), at, 0.5).len()
    };
    assert_eq!(read(&mut roll, "http://new:1", 200, now), 1);
    assert_eq!(read(&mut roll, "http://old:1", 100, now + 30 * S), 0, "frozen");
    assert_eq!(read(&mut roll, "http://new:1", 200, now + 60 * S), 1);
    assert_eq!(read(&mut roll, "http://old:1", 100, now + 149 * S), 0);
    assert_eq!(read(&mut roll, "http://old:1", 100, now + 150 * S), 1, "nobody says anything else any more");
    assert_eq!(read(&mut roll, "http://newer:1", 101, now + 151 * S), 1);
}

#[test]
fn a_name_that_left_while_it_was_read_says_nothing() {
    let now = Instant::now();
    let mut roll = roll(&["alpha"], now);
    assert_eq!(roll.take_due(now), Some(name("alpha")));
    roll.listed(&[], now);
    assert_eq!(roll.read(name("alpha"), good("alpha"), now, 0.5), []);
    assert_eq!(said(&roll), (vec![], vec![]));
    roll.listed(&["alpha".to_owned()], now);
    roll.read(name("alpha"), good("alpha"), now, 0.5);
    assert_eq!(roll.take_due(now), None, "it came back before the read was done");
    assert_eq!(roll.take_due(now + 30 * S), Some(name("alpha")));
    assert_eq!(roll.take_due(now + 30 * S), None, "and stands in one queue once");
}

#[test]
fn unknown_and_known_names_take_turns_when_both_wait() {
    let now = Instant::now();
    let known: Vec<_> = (0..8).map(|n| format!("known_{n}")).collect();
    let mut roll = Roll::new(now);
    roll.listed(&known, now);
    for name in &known {
        roll.read(ServiceName::parse(name).unwrap(), good(name), now, 0.5);
    }
    let later = now + 60 * S;
    let new: Vec<_> = (0..8).map(|n| format!("new_{n}")).collect();
    roll.listed(&[known, new].concat(), later);
    let order: Vec<_> =
        std::iter::from_fn(|| roll.take_due(later)).map(|n| n.as_str().starts_with("new")).collect();
    assert_eq!(order.len(), 16);
    assert_eq!(order.iter().take(5).filter(|new| **new).count(), 4, "{order:?}");
}
