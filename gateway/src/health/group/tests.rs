//! The rules of a group, one by one, and what no sequence of events may break.

use proptest::prelude::*;

use super::*;

const RULES: HealthConfig = HealthConfig {
    active: true,
    interval: Duration::from_secs(3),
    timeout: Duration::from_secs(1),
    unhealthy_after: 2,
    healthy_after: 1,
    eject_after_connect_failures: 3,
    eject_after_errors: 5,
    max_ejected_percent: 50,
    panic_percent: 50,
    slow_start: None,
};

const BAD: CheckResult = CheckResult::BadStatus(500);

struct Play {
    group: GroupState,
    now: Instant,
    rules: HealthConfig,
}

impl Play {
    /// Endpoints 0..count, all up, none checked.
    fn of(count: u64) -> Self {
        Self::with(count, RULES)
    }

    fn with(count: u64, rules: HealthConfig) -> Self {
        let (mut group, now) = (GroupState::default(), Instant::now());
        for serial in 0..count {
            group.put(serial, true, false, now);
        }
        Self { group, now, rules }
    }

    fn check(&mut self, serial: u64, results: &[CheckResult]) -> &mut Self {
        for result in results {
            self.group.checked(serial, *result, self.now, &self.rules);
        }
        self
    }

    fn eject(&mut self, serial: u64, reason: EjectReason) -> Ejected {
        self.group.eject(serial, reason, self.now, &self.rules)
    }

    fn after(&mut self, seconds: u64) -> Vec<u64> {
        self.now += Duration::from_secs(seconds);
        self.group.tick(self.now)
    }

    fn shares(&self) -> Vec<Share> {
        self.group.shares(self.now, &self.rules).map(|(_, share, _)| share).collect()
    }

    fn verdict(&self, serial: u64) -> Verdict {
        self.group.shares(self.now, &self.rules).find(|row| row.0 == serial).unwrap().2
    }
}

const FULL: Share = Share::FULL;
const OUT: Share = Share::OUT;
const TRIAL: Share = Share::TRIAL;

#[test]
fn two_failed_checks_in_a_row_take_out_and_one_passed_takes_back() {
    let passed = CheckResult::Passed;
    for (results, good) in [
        (&[BAD][..], true),
        (&[BAD, passed, BAD], true),
        (&[BAD, CheckResult::Inconclusive, BAD], false),
        (&[BAD, BAD], false),
        (&[BAD, CheckResult::Refused], false),
        (&[BAD, BAD, BAD, passed], true),
        (&[CheckResult::Inconclusive; 9], true),
    ] {
        let mut play = Play::of(2);
        play.check(0, results);
        assert_eq!(play.shares(), [if good { FULL } else { OUT }, FULL], "{results:?}");
    }
    let mut play = Play::with(2, HealthConfig { unhealthy_after: 1, healthy_after: 2, ..RULES });
    assert_eq!(play.check(0, &[BAD, passed]).shares(), [OUT, FULL]);
    assert_eq!(play.check(0, &[passed]).shares(), [FULL, FULL]);
}

#[test]
fn a_second_look_is_wanted_only_after_a_failure_that_decided_nothing() {
    let mut play = Play::of(1);
    let mut soon = |result| play.group.checked(0, result, play.now, &RULES);
    assert_eq!([soon(BAD), soon(BAD), soon(BAD), soon(CheckResult::Passed)], [true, false, false, false]);
}

#[test]
fn who_gets_requests() {
    let refused = CheckResult::Refused;
    // Checks of endpoints 0.., who gets requests then.
    for (checks, expected) in [
        // Half of them good: the good ones.
        (&[Some(BAD), None][..], &[OUT, FULL][..]),
        (&[Some(BAD), Some(refused), None, None], &[OUT, OUT, FULL, FULL]),
        // Fewer: those that answer as well, and nobody else.
        (&[Some(BAD), Some(BAD), None], &[FULL, FULL, FULL]),
        (&[Some(BAD), Some(refused), None], &[FULL, OUT, FULL]),
        (&[Some(refused), Some(refused), None], &[OUT, OUT, FULL]),
        (&[Some(CheckResult::Late), Some(CheckResult::BadAnswer), None], &[OUT, OUT, FULL]),
        // None good: those that answer; none of these either: all.
        (&[Some(BAD), Some(refused)], &[FULL, OUT]),
        (&[Some(refused), Some(refused)], &[FULL, FULL]),
        (&[Some(BAD)], &[FULL]),
    ] {
        let mut play = Play::of(0);
        for (serial, result) in (0..).zip(checks) {
            play.group.put(serial, true, false, play.now);
            if let Some(result) = result {
                play.check(serial, &[*result, *result]);
            }
        }
        assert_eq!(play.shares(), expected, "{checks:?}");
    }
    let mut overloaded = Play::of(3);
    overloaded.check(0, &[CheckResult::Passed, CheckResult::Late, CheckResult::Late]).check(1, &[refused; 2]);
    assert_eq!(overloaded.shares(), [FULL, OUT, FULL], "late, but well a moment ago: overloaded");
    assert!(overloaded.group.is_restless(overloaded.now, &RULES));
    overloaded.after(300);
    assert_eq!(overloaded.shares(), [OUT, OUT, FULL], "late for long: it hangs");
    let mut calm = Play::with(3, HealthConfig { panic_percent: 0, ..RULES });
    calm.check(0, &[BAD, BAD]).check(1, &[BAD, BAD]);
    assert_eq!(calm.shares(), [OUT, OUT, FULL], "panic is off");
}

#[test]
fn requests_eject_at_most_half_and_never_the_last_good_one() {
    let mut play = Play::of(4);
    assert_eq!(play.eject(0, EjectReason::Errors), Ejected::Yes);
    assert_eq!(play.eject(0, EjectReason::Errors), Ejected::Already);
    assert_eq!(play.eject(1, EjectReason::Errors), Ejected::Yes);
    assert_eq!(play.eject(2, EjectReason::Errors), Ejected::Refused, "half are out");
    let mut play = Play::of(1);
    assert_eq!(play.eject(0, EjectReason::ConnectFailures), Ejected::Refused, "the only one");
    let mut play = Play::of(2);
    play.check(0, &[BAD, BAD]);
    assert_eq!(play.eject(1, EjectReason::Errors), Ejected::Refused, "the last good one");
    let mut off = Play::with(9, HealthConfig { max_ejected_percent: 0, ..RULES });
    assert_eq!(off.eject(0, EjectReason::Errors), Ejected::Refused);
}

#[test]
fn an_ejected_endpoint_comes_back_with_one_request_and_stays_out_longer_each_time() {
    let mut play = Play::of(2);
    for seconds in [10, 20, 30] {
        assert_eq!(play.eject(0, EjectReason::Errors), Ejected::Yes);
        assert_eq!(play.shares(), [OUT, FULL]);
        assert!(play.after(seconds - 1).is_empty());
        play.check(0, &[CheckResult::Passed]);
        assert_eq!(play.shares(), [OUT, FULL], "its health page says nothing about its requests");
        assert_eq!(play.after(1), [0]);
        assert_eq!((play.shares(), play.group.is_on_trial(0)), (vec![TRIAL, FULL], true));
    }
    assert_eq!(play.after(4), [0; 0]);
    assert_eq!(play.after(1), [0], "whoever had the trial left: it is offered again");
    play.group.trial_succeeded(0, play.now);
    assert_eq!((play.shares(), play.verdict(0)), (vec![FULL, FULL], Verdict::Good));
    // Good for long: a clean sheet.
    play.after(300);
    play.eject(0, EjectReason::Errors);
    assert_eq!(play.after(10), [0]);
}

#[test]
fn the_longest_ejection_is_five_minutes() {
    let mut play = Play::of(2);
    for _ in 0..100 {
        play.eject(0, EjectReason::Errors);
        play.after(300);
        assert!(play.group.is_on_trial(0));
    }
}

#[test]
fn a_check_that_connects_ends_an_ejection_for_connect_failures_at_once() {
    let mut play = Play::of(2);
    play.eject(0, EjectReason::ConnectFailures);
    assert_eq!(play.check(0, &[CheckResult::Refused]).shares(), [OUT, FULL]);
    assert_eq!(play.check(0, &[CheckResult::Passed]).shares(), [FULL, FULL]);
    play.eject(0, EjectReason::ConnectFailures);
    // Checked without a connection: time and then one request decide, once the checks no longer speak against it.
    play.check(0, &[CheckResult::Refused, CheckResult::Refused]);
    assert!(play.after(60).is_empty(), "failing: no trial");
    assert_eq!(play.check(0, &[CheckResult::Passed]).shares(), [FULL, FULL]);
}

#[test]
fn a_newcomer_waits_for_its_first_check_but_not_for_long() {
    let newcomer = |result: Option<CheckResult>| {
        let mut play = Play::of(1);
        play.group.put(7, true, true, play.now);
        assert_eq!((play.shares(), play.verdict(7)), (vec![FULL, OUT], Verdict::Waiting));
        if let Some(result) = result {
            play.check(7, &[result]);
        }
        play
    };
    assert_eq!(newcomer(Some(CheckResult::Passed)).shares(), [FULL, FULL]);
    let mut unchecked = newcomer(None);
    unchecked.after(2);
    assert_eq!((unchecked.shares(), unchecked.verdict(7)), (vec![FULL, FULL], Verdict::Untested));
    let mut failed = newcomer(Some(CheckResult::Refused));
    failed.after(2);
    assert_eq!(failed.shares(), [FULL, OUT], "its second check decides");
    assert_eq!(failed.check(7, &[CheckResult::Refused]).verdict(7), Verdict::Failing(CheckResult::Refused));
    // Newcomers are no evidence against the others, and serve when nobody else is there.
    let mut play = Play::of(1);
    for serial in 7..20 {
        play.group.put(serial, true, true, play.now);
    }
    assert_eq!(play.shares().iter().filter(|share| **share == OUT).count(), 13);
    play.group.remove(0);
    assert!(play.shares().iter().all(|share| *share == FULL));
}

#[test]
fn who_comes_to_others_or_comes_back_grows_to_its_share() {
    let rules = HealthConfig { slow_start: Some(Duration::from_secs(10)), ..RULES };
    let mut play = Play::with(1, rules);
    play.group.put(7, true, true, play.now);
    play.after(1);
    play.check(7, &[CheckResult::Passed]);
    let percent = |play: &Play| play.shares().into_iter().map(Share::as_percent).collect::<Vec<_>>();
    assert_eq!(percent(&play), [100, 10], "the first of its service begins whole");
    play.after(5);
    assert_eq!(percent(&play), [100, 55]);
    assert!(play.group.is_restless(play.now, &rules));
    play.after(5);
    assert_eq!(percent(&play), [100, 100]);
    assert!(!play.group.is_restless(play.now, &rules));
    play.check(0, &[BAD, BAD, CheckResult::Passed]);
    assert_eq!(percent(&play), [10, 100], "who comes back");
}

#[derive(Clone, Debug)]
enum Event {
    Put(u64, bool, bool),
    Remove(u64),
    Check(u64, CheckResult),
    Eject(u64, EjectReason),
    Success(u64),
    Seconds(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let serial = 0..6_u64;
    let results =
        [CheckResult::Passed, BAD, CheckResult::Refused, CheckResult::Late, CheckResult::Inconclusive];
    prop_oneof![
        (serial.clone(), any::<bool>(), any::<bool>()).prop_map(|(s, up, w)| Event::Put(s, up, w)),
        serial.clone().prop_map(Event::Remove),
        (serial.clone(), prop::sample::select(results.to_vec())).prop_map(|(s, r)| Event::Check(s, r)),
        (serial.clone(), prop::sample::select(EjectReason::ALL.to_vec()))
            .prop_map(|(s, r)| Event::Eject(s, r)),
        serial.prop_map(Event::Success),
        (0..30_u64).prop_map(Event::Seconds),
    ]
}

proptest! {
    #[test]
    fn whatever_happens(events in prop::collection::vec(event(), 0..80), panic_percent in 0..=100_u32) {
        let mut play = Play::with(3, HealthConfig { panic_percent, ..RULES });
        for event in events {
            let (up, good_before, _) = play.group.count();
            let ejecting = matches!(event, Event::Eject(..));
            match event {
                Event::Put(serial, up, waits) => play.group.put(serial, up, waits, play.now),
                Event::Remove(serial) => play.group.remove(serial),
                Event::Check(serial, result) => drop(play.check(serial, &[result])),
                Event::Eject(serial, reason) => drop(play.eject(serial, reason)),
                Event::Success(serial) => play.group.trial_succeeded(serial, play.now),
                Event::Seconds(seconds) => drop(play.after(seconds)),
            }
            let (_, good, ejected) = play.group.count();
            if ejecting {
                prop_assert!(good > 0 || good_before == 0, "requests took out the last good one");
                prop_assert!(good == good_before || ejected * 2 <= up, "more than half are ejected");
            }
            let ups: Vec<(Share, Verdict)> = play
                .group
                .shares(play.now, &play.rules)
                .filter(|(serial, ..)| play.group.members[serial].up)
                .map(|(_, share, verdict)| (share, verdict))
                .collect();
            if !ups.is_empty() {
                prop_assert!(ups.iter().any(|(share, _)| !share.is_out()), "nobody gets requests: {:?}", ups);
            }
            for (share, verdict) in &ups {
                let good = matches!(verdict, Verdict::Good | Verdict::Untested);
                prop_assert!(!good || *share == FULL, "a good one without its share: {:?}", ups);
            }
            let on_trial = |verdict: &Verdict| matches!(verdict, Verdict::Trial(_));
            prop_assert!(ups.iter().all(|(share, verdict)| *share != TRIAL || on_trial(verdict)));
        }
    }
}
