//! The endpoints of one service against each other: who is good, who gets requests. Pure: events and `now` in, shares out.
//!
//! Two things are kept apart per endpoint, and it is good when neither speaks against it:
//!
//! * *failing*: enough checks in a row failed; enough passed ones in a row end it.
//! * *ejected*: requests failed. It ends with one request as a trial after its time is over (10 s, times the number of
//!   times, up to 5 min); where requests could not connect, a check that can ends it at once.
//!
//! Requests alone never take out the last good endpoint, nor more than the configured share. Who gets requests: the good
//! ones; when these are too few, also those that may still be of use; when there is none of either, all.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use vertice_config::gateway::HealthConfig;

use super::state::Share;
use super::verdict::{CheckResult, EjectReason, Verdict};

/// The first ejection; the second lasts twice as long, the third three times.
const EJECTION: Duration = Duration::from_secs(10);

/// The longest one. An endpoint that was good for as long starts with a clean sheet.
const LONGEST_EJECTION: Duration = Duration::from_mins(5);

/// A new endpoint waits this long for its first check; checks that are behind must not keep capacity away.
const WAIT: Duration = Duration::from_secs(2);

/// A trial whose request came to nothing (its client left) is offered again after this.
const TRIAL: Duration = Duration::from_secs(5);

/// How long an endpoint that answers too late is taken for an overloaded one.
const OVERLOAD: Duration = Duration::from_mins(5);

/// Where the ramp of an endpoint begins: so low that a cold one is spared, so high that a quiet service warms it.
const RAMP_START_PERCENT: u128 = 10;

/// The endpoints of one service, by serial.
#[derive(Debug, Default)]
pub struct GroupState {
    members: BTreeMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    /// The registry's word: it takes requests at all.
    up: bool,
    tested: bool,
    waits_until: Option<Instant>,
    failing: Option<CheckResult>,
    /// Failed checks in a row, and passed ones.
    failed_checks: u32,
    passed_checks: u32,
    ejected: Option<Ejection>,
    times_ejected: u32,
    last_passed: Option<Instant>,
    good_since: Instant,
    ramp_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Ejection {
    reason: EjectReason,
    until: Instant,
    /// When its trial was last offered.
    trial: Option<Instant>,
}

/// What became of the wish to eject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejected {
    /// It is out.
    Yes,
    /// It is out already.
    Already,
    /// Too many are, or it is the last good one.
    Refused,
}

impl Member {
    fn is_good(&self) -> bool {
        self.failing.is_none() && self.ejected.is_none() && self.waits_until.is_none()
    }

    /// Whether a request may succeed there although it is not good: it answers. One that answers too late is overloaded
    /// if it was well not long ago, and could take its part; else it hangs.
    fn may_be_of_use(&self, now: Instant) -> bool {
        let checked = match self.failing {
            None
            | Some(
                CheckResult::Passed
                | CheckResult::BadStatus(_)
                | CheckResult::NotServing
                | CheckResult::Unknown
                | CheckResult::Unimplemented
                | CheckResult::NoSuchService
                | CheckResult::Inconclusive,
            ) => true,
            Some(CheckResult::Late) => {
                self.last_passed.is_some_and(|at| now.saturating_duration_since(at) < OVERLOAD)
            }
            Some(
                CheckResult::BadAnswer
                | CheckResult::ConnectTimeout
                | CheckResult::Refused
                | CheckResult::Tls
                | CheckResult::Unresolved
                | CheckResult::Forbidden,
            ) => false,
        };
        let requested = self.ejected.is_none_or(|ejection| ejection.reason != EjectReason::ConnectFailures);
        checked && requested
    }

    fn verdict(&self) -> Verdict {
        match (self.failing, self.ejected) {
            (Some(result), _) => Verdict::Failing(result),
            (None, Some(Ejection { reason, trial: Some(_), .. })) => Verdict::Trial(reason),
            (None, Some(Ejection { reason, trial: None, .. })) => Verdict::Ejected(reason),
            (None, None) if self.waits_until.is_some() => Verdict::Waiting,
            (None, None) if self.tested => Verdict::Good,
            (None, None) => Verdict::Untested,
        }
    }

    fn returns(&mut self, now: Instant) {
        if self.is_good() {
            self.good_since = now;
            self.ramp_since = Some(now);
        }
    }
}

impl GroupState {
    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many are in it and up.
    pub fn up(&self) -> usize {
        self.members.values().filter(|member| member.up).count()
    }

    /// Takes in an endpoint that the table has; `waits`: it gets nothing before its first check.
    pub fn put(&mut self, serial: u64, up: bool, waits: bool, now: Instant) {
        if let Some(member) = self.members.get_mut(&serial) {
            member.up = up;
            return;
        }
        let beside_others = self.members.values().any(|member| member.up && member.is_good());
        let member = Member {
            up,
            tested: false,
            waits_until: waits.then(|| now + WAIT),
            failing: None,
            failed_checks: 0,
            passed_checks: 0,
            ejected: None,
            times_ejected: 0,
            last_passed: None,
            good_since: now,
            ramp_since: beside_others.then_some(now),
        };
        self.members.insert(serial, member);
    }

    /// Forgets an endpoint that the table no longer has.
    pub fn remove(&mut self, serial: u64) {
        self.members.remove(&serial);
    }

    /// Takes in what a check came to. Whether it has to be repeated soon because it decided nothing.
    pub fn checked(&mut self, serial: u64, result: CheckResult, now: Instant, rules: &HealthConfig) -> bool {
        let Some(member) = self.members.get_mut(&serial) else { return false };
        if result == CheckResult::Inconclusive {
            return false;
        }
        member.tested = true;
        let bad_before = member.failing.is_some();
        if result == CheckResult::Passed {
            member.failed_checks = 0;
            member.last_passed = Some(now);
            member.passed_checks = member.passed_checks.saturating_add(1);
            if member.waits_until.take().is_some() {
                member.returns(now);
            }
            if bad_before && member.passed_checks >= rules.healthy_after {
                member.failing = None;
                member.returns(now);
            }
        } else {
            member.passed_checks = 0;
            member.failed_checks = member.failed_checks.saturating_add(1);
            if bad_before || member.failed_checks >= rules.unhealthy_after {
                member.failing = Some(result);
                member.waits_until = None;
            }
        }
        // The very thing that it was ejected for is disproved.
        let disproved = member.ejected.is_some_and(|e| e.reason == EjectReason::ConnectFailures);
        if disproved && result.connected() {
            member.ejected = None;
            member.returns(now);
        }
        member.failed_checks > 0 && member.failing.is_none()
    }

    /// Requests say that the endpoint `serial` is bad.
    pub fn eject(&mut self, serial: u64, reason: EjectReason, now: Instant, rules: &HealthConfig) -> Ejected {
        let (up, good, ejected) = self.count();
        let Some(member) = self.members.get_mut(&serial) else { return Ejected::Already };
        let on_trial = member.ejected.is_some_and(|ejection| ejection.trial.is_some());
        let may_fall = member.is_good() && member.up;
        if !(on_trial || may_fall) {
            return Ejected::Already;
        }
        if !on_trial && (good < 2 || !allowed(ejected + 1, up, rules.max_ejected_percent)) {
            return Ejected::Refused;
        }
        if !on_trial && now.saturating_duration_since(member.good_since) >= LONGEST_EJECTION {
            member.times_ejected = 0;
        }
        member.times_ejected = member.times_ejected.saturating_add(1);
        let until = now + (EJECTION * member.times_ejected.min(1000)).min(LONGEST_EJECTION);
        member.ejected = Some(Ejection { reason, until, trial: None });
        Ejected::Yes
    }

    /// A request that was sent while the endpoint was on trial succeeded.
    pub fn trial_succeeded(&mut self, serial: u64, now: Instant) {
        let Some(member) = self.members.get_mut(&serial) else { return };
        if member.ejected.is_some_and(|ejection| ejection.trial.is_some()) {
            member.ejected = None;
            member.returns(now);
        }
    }

    /// Whether `serial` is on trial.
    pub fn is_on_trial(&self, serial: u64) -> bool {
        let ejection = self.members.get(&serial).and_then(|member| member.ejected);
        ejection.is_some_and(|ejection| ejection.trial.is_some())
    }

    /// Time passes. Returns whose trial is to be offered (again).
    pub fn tick(&mut self, now: Instant) -> Vec<u64> {
        let mut offered = Vec::new();
        for (serial, member) in &mut self.members {
            // A first check that failed is followed by one that decides.
            if member.waits_until.is_some_and(|until| until <= now) && member.failed_checks == 0 {
                member.waits_until = None;
                member.returns(now);
            }
            let failing = member.failing.is_some();
            let Some(ejection) = &mut member.ejected else { continue };
            let due = ejection.trial.map_or(ejection.until, |last| last + TRIAL);
            if due <= now && !failing {
                ejection.trial = Some(now);
                offered.push(*serial);
            }
        }
        offered
    }

    /// Whether time alone will change something.
    pub fn is_restless(&self, now: Instant, rules: &HealthConfig) -> bool {
        self.members.values().any(|member| {
            member.waits_until.is_some()
                || member.ejected.is_some()
                || member.failing == Some(CheckResult::Late)
                || ramp(member, now, rules) != Share::FULL
        })
    }

    /// What each endpoint gets now, and what is thought of it.
    pub fn shares(&self, now: Instant, rules: &HealthConfig) -> impl Iterator<Item = (u64, Share, Verdict)> {
        let circle = self.circle(now, rules);
        self.members.iter().map(move |(serial, member)| {
            let ejected = member.ejected;
            let share = match circle {
                _ if member.is_good() => ramp(member, now, rules),
                Circle::All => Share::FULL,
                Circle::Useful if member.may_be_of_use(now) && member.waits_until.is_none() => Share::FULL,
                Circle::Good | Circle::Useful
                    if member.failing.is_none() && ejected.is_some_and(|e| e.trial.is_some()) =>
                {
                    Share::TRIAL
                }
                Circle::Good | Circle::Useful => Share::OUT,
            };
            (*serial, share, member.verdict())
        })
    }

    /// Who gets requests. Endpoints that wait for their first check are not counted: that they are new is no evidence.
    fn circle(&self, now: Instant, rules: &HealthConfig) -> Circle {
        let judged = || self.members.values().filter(|member| member.up && member.waits_until.is_none());
        let all = judged().count();
        let good = judged().filter(|member| member.is_good()).count();
        let useful = judged().filter(|member| member.may_be_of_use(now)).count();
        if good > 0 && enough(good, all, rules.panic_percent) {
            Circle::Good
        } else if useful > 0 {
            Circle::Useful
        } else {
            Circle::All
        }
    }

    /// Of those that are up: all, good ones, ejected ones.
    fn count(&self) -> (usize, usize, usize) {
        let up = || self.members.values().filter(|member| member.up);
        let good = up().filter(|member| member.is_good()).count();
        (up().count(), good, up().filter(|member| member.ejected.is_some()).count())
    }
}

/// Who gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circle {
    Good,
    Useful,
    All,
}

/// Whether `part` of `all` may be ejected.
fn allowed(part: usize, all: usize, most_percent: u32) -> bool {
    let most = usize::try_from(most_percent).unwrap_or(100);
    part.saturating_mul(100) <= all.saturating_mul(most)
}

/// Whether `good` of `all` are at least `least_percent`.
fn enough(good: usize, all: usize, least_percent: u32) -> bool {
    let least = usize::try_from(least_percent).unwrap_or(100);
    good.saturating_mul(100) >= all.saturating_mul(least)
}

fn ramp(member: &Member, now: Instant, rules: &HealthConfig) -> Share {
    let (Some(window), Some(since)) = (rules.slow_start, member.ramp_since) else { return Share::FULL };
    let (passed, window) = (now.saturating_duration_since(since).as_millis(), window.as_millis().max(1));
    let percent = RAMP_START_PERCENT + (100 - RAMP_START_PERCENT) * passed.min(window) / window;
    Share::percent(u8::try_from(percent).unwrap_or(100))
}

#[cfg(test)]
mod tests;
