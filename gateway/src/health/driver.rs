//! The task behind it all: reads the table, runs checks, hears from the workers, writes shares.
//!
//! It runs on the control side, once for all workers. It decides nothing: see [`group`](super::group).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use vertice_config::gateway::HealthConfig;
use vertice_registry_api::{InstanceId, ServiceName};

use super::check::Checker;
use super::group::{Ejected, GroupState};
use super::log::ChangeLog;
use super::outlier::{self, Tally};
use super::schedule::{self, CHECKS_PER_SECOND, Schedule};
use super::silence::Silence;
use super::state::Share;
use super::stats::HealthStats;
use super::verdict::{CheckResult, EjectReason, Verdict};
use crate::table::{Endpoint, Published, Service, Table};
use crate::upstream::AddressPolicy;

/// Between two looks at the table and the clock: an endpoint is checked for the first time at most this late.
const PULSE: Duration = Duration::from_millis(100);

/// Checks begun per pulse.
const CHECKS_PER_PULSE: usize = CHECKS_PER_SECOND / 10;

/// Checks at once, a file descriptor each.
const CHECKS_AT_ONCE: usize = 256;

/// A held instance gets as long as the original sidecar gives its service: nothing would bring it back.
const HELD_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a held instance lives, for who holds it.
pub type Probed = (ServiceName, InstanceId, bool);

/// What a configuration says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// The operator's rules.
    pub rules: HealthConfig,
    /// Which addresses are not connected to.
    pub policy: AddressPolicy,
}

/// What the task is made of.
#[derive(Debug)]
pub struct HealthParts {
    /// Where tables come from.
    pub published: Arc<Published>,
    /// The operator's rules; another word of his is followed at once.
    pub rules: watch::Receiver<HealthRules>,
    /// Endpoints to be looked at, from the workers.
    pub notices: mpsc::Receiver<u64>,
    /// Where checks of held instances are told.
    pub probed: mpsc::Sender<Probed>,
    /// Counters.
    pub stats: Arc<HealthStats>,
}

/// Runs for as long as the process.
pub async fn run(parts: HealthParts) {
    let HealthParts { published, mut rules, mut notices, probed, stats } = parts;
    let HealthRules { rules: first, policy } = rules.borrow_and_update().clone();
    let mut driver = HealthDriver::new(first, policy, probed, stats);
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen = Arc::new(Table::default());
    let mut compared = Instant::now();
    loop {
        tokio::select! {
            _ = pulse.tick() => {
                let table = published.load();
                if !Arc::ptr_eq(&table, &seen) {
                    driver.take(&seen, &table, Instant::now());
                    seen = table;
                }
                if compared.elapsed() >= outlier::WINDOW {
                    compared = Instant::now();
                    driver.compare(compared);
                }
                driver.pulse(Instant::now());
            }
            Ok(()) = rules.changed() => {
                let rules = rules.borrow_and_update().clone();
                driver.follow(rules, &seen, Instant::now());
            }
            Some(serial) = notices.recv() => driver.noticed(serial, Instant::now()),
            Some(done) = driver.checks.join_next() => driver.done(&done),
        }
        while let Ok(serial) = notices.try_recv() {
            driver.noticed(serial, Instant::now());
        }
        while let Some(done) = driver.checks.try_join_next() {
            driver.done(&done);
        }
        driver.settle(Instant::now());
    }
}

/// A check that is over.
#[derive(Clone, Copy, Debug)]
struct Done {
    serial: u64,
    began: Instant,
    took: Duration,
    result: CheckResult,
}

type Checks = JoinSet<Done>;

#[derive(Debug)]
struct HealthDriver {
    rules: HealthConfig,
    checker: Checker,
    probed: mpsc::Sender<Probed>,
    stats: Arc<HealthStats>,
    groups: HashMap<ServiceName, GroupState, RandomState>,
    tracked: HashMap<u64, Tracked, RandomState>,
    schedule: Schedule,
    checks: Checks,
    /// Services whose shares have to be written.
    dirty: HashSet<ServiceName, RandomState>,
    /// Services that time alone changes.
    restless: HashSet<ServiceName, RandomState>,
    /// Endpoints whose notices are held back until the next pulse: a service that only fails must not keep us busy.
    noticed: Vec<u64>,
    /// When a check last came to a connection, whosever.
    contact: Option<Instant>,
    log: ChangeLog,
}

#[derive(Debug)]
struct Tracked {
    service: ServiceName,
    endpoint: Arc<Endpoint>,
    share: Share,
    verdict: Verdict,
    checking: bool,
    counts: (u64, u64),
    /// Only while it is held or stale.
    silence: Silence,
}

impl HealthDriver {
    fn new(
        rules: HealthConfig,
        policy: AddressPolicy,
        probed: mpsc::Sender<Probed>,
        stats: Arc<HealthStats>,
    ) -> Self {
        Self {
            rules,
            checker: Checker::new(policy),
            probed,
            stats,
            groups: HashMap::default(),
            tracked: HashMap::default(),
            schedule: Schedule::default(),
            checks: JoinSet::new(),
            dirty: HashSet::default(),
            restless: HashSet::default(),
            noticed: Vec::new(),
            contact: None,
            log: ChangeLog::default(),
        }
    }

    /// Other rules hold from now on. What was found out stays, unless nobody is to find out any more.
    fn follow(&mut self, HealthRules { rules, policy }: HealthRules, table: &Table, now: Instant) {
        let checks_end = self.rules.active && !rules.active;
        self.rules = rules;
        self.checker = Checker::new(policy);
        if checks_end {
            // What failed its checks would never pass one again.
            let (probed, stats) = (self.probed.clone(), self.stats.clone());
            let fresh = Self::new(rules, AddressPolicy::default(), probed, stats);
            let before = std::mem::replace(self, fresh);
            self.checker = before.checker;
            for endpoint in table.services.iter().flat_map(|service| &service.all) {
                endpoint.health.show(|shown| (shown.verdict, shown.since) = (Verdict::Untested, now));
                endpoint.health.set_share(Share::FULL);
                endpoint.health.set_on_trial(false);
            }
        }
        for service in table.services.iter() {
            self.take_service(service, now);
        }
    }

    /// Takes in what differs between two tables.
    fn take(&mut self, before: &Table, after: &Table, now: Instant) {
        after.services.differences(&before.services, |old, new| {
            for endpoint in old.iter().flat_map(|service| &service.all) {
                let stays = new.is_some_and(|new| contains(new, endpoint));
                if !stays && let Some(service) = old.map(|service| &service.name) {
                    self.forget(service, endpoint.id.serial);
                }
            }
            if let Some(new) = new {
                self.take_service(new, now);
            }
        });
    }

    fn forget(&mut self, service: &ServiceName, serial: u64) {
        self.tracked.remove(&serial);
        self.schedule.remove(serial);
        if let Some(group) = self.groups.get_mut(service) {
            group.remove(serial);
            if group.is_empty() {
                self.groups.remove(service);
            }
        }
        self.dirty.insert(service.clone());
    }

    fn take_service(&mut self, service: &Service, now: Instant) {
        let group = self.groups.entry(service.name.clone()).or_default();
        for endpoint in &service.all {
            let serial = endpoint.id.serial;
            let up = contains_routable(service, endpoint);
            let tracked = self.tracked.entry(serial).or_insert_with(|| Tracked {
                service: service.name.clone(),
                endpoint: endpoint.clone(),
                share: endpoint.health.share(),
                verdict: endpoint.health.shown().verdict,
                checking: false,
                counts: endpoint.health.counts(),
                silence: Silence::default(),
            });
            let newly_held = endpoint.spec.held.is_some() && tracked.endpoint.spec.held.is_none();
            tracked.endpoint = endpoint.clone();
            if newly_held {
                tracked.silence = Silence::default();
                endpoint.health.show(|shown| shown.dead = false);
            }
            let waits = tracked.verdict == Verdict::Waiting;
            let wanted = wants_checks(endpoint, &self.rules);
            if !wanted {
                self.schedule.remove(serial);
            } else if !tracked.checking && (newly_held || !self.schedule.contains(serial)) {
                self.schedule.put(serial, now);
            }
            group.put(serial, up, waits, now);
        }
        self.restless.insert(service.name.clone());
        self.dirty.insert(service.name.clone());
    }

    /// Time passes: trials, waits and ramps, and the checks that are due.
    fn pulse(&mut self, now: Instant) {
        for serial in std::mem::take(&mut self.noticed) {
            if let Some(tracked) = self.tracked.get(&serial) {
                tracked.endpoint.health.notice_over();
            }
        }
        let (groups, tracked, rules) = (&mut self.groups, &self.tracked, &self.rules);
        self.dirty.extend(self.restless.iter().cloned());
        self.restless.retain(|service| {
            let Some(group) = groups.get_mut(service) else { return false };
            for serial in group.tick(now) {
                let Some(tracked) = tracked.get(&serial) else { continue };
                let health = &tracked.endpoint.health;
                health.end_rows();
                health.set_on_trial(true);
                // Offered again: the last one to take it has taken it out.
                if tracked.share == Share::TRIAL {
                    health.set_share(Share::TRIAL);
                }
            }
            group.is_restless(now, rules)
        });
        for _ in 0..CHECKS_PER_PULSE {
            if self.checks.len() >= CHECKS_AT_ONCE {
                break;
            }
            let Some(serial) = self.schedule.pop(now) else { break };
            self.begin(serial);
        }
        self.log.pulse(now);
    }

    fn begin(&mut self, serial: u64) {
        let Some(tracked) = self.tracked.get_mut(&serial) else { return };
        tracked.checking = true;
        let (endpoint, checker) = (tracked.endpoint.clone(), self.checker.clone());
        let held = endpoint.spec.held.is_some();
        let limit = if held { self.rules.timeout.max(HELD_TIMEOUT) } else { self.rules.timeout };
        self.checks.spawn(async move {
            let began = Instant::now();
            let result = checker.check(&endpoint.spec, endpoint.tls.as_ref(), limit).await;
            Done { serial, began, took: began.elapsed(), result }
        });
    }

    fn done(&mut self, done: &Result<Done, tokio::task::JoinError>) {
        let Ok(Done { serial, began, took, result }) = *done else {
            tracing::error!("a health check panicked; this is a defect, please report it");
            return;
        };
        let now = Instant::now();
        self.stats.checked(result);
        let endpoints = self.tracked.len();
        if result.connected() {
            self.contact = Some(now);
        }
        let Some(tracked) = self.tracked.get_mut(&serial) else { return };
        tracked.checking = false;
        let spec = &tracked.endpoint.spec;
        if spec.held.is_some() && result != CheckResult::Inconclusive {
            // Full: there are more held instances than are worth waiting for; each is checked again.
            let _ = self.probed.try_send((
                tracked.service.clone(),
                spec.instance_id.clone(),
                result.proves_life(),
            ));
        }
        let held = tracked.endpoint.spec.held.is_some();
        let dead = held && tracked.silence.checked(result, began, self.contact);
        // Held ones get more time to prove that they live, but not to be good.
        let result = if took > self.rules.timeout && result.connected() { CheckResult::Late } else { result };
        tracked.endpoint.health.show(|shown| (shown.last_check, shown.dead) = (Some((result, now)), dead));
        let mut soon = false;
        if self.rules.active
            && let Some(group) = self.groups.get_mut(&tracked.service)
        {
            soon = group.checked(serial, result, now, &self.rules);
            self.dirty.insert(tracked.service.clone());
        }
        let random = fastrand::u32(0..=1000);
        let next = schedule::next(began, soon, self.rules.interval, endpoints, random);
        if wants_checks(&tracked.endpoint, &self.rules) {
            self.schedule.put(serial, next);
        }
    }

    /// A worker says that an endpoint should be looked at.
    fn noticed(&mut self, serial: u64, now: Instant) {
        // Also of an endpoint that we have not seen in the table yet: it is known at the next pulse, and can tell again.
        self.noticed.push(serial);
        let Some(tracked) = self.tracked.get(&serial) else { return };
        let Some(group) = self.groups.get_mut(&tracked.service) else { return };
        let rules = &self.rules;
        let reached = |count: u32, limit: u32| limit > 0 && count >= limit;
        let on_trial = group.is_on_trial(serial);
        let (connect_failures, errors) = tracked.endpoint.health.in_a_row();
        let reason = if reached(connect_failures, rules.eject_after_connect_failures)
            || on_trial && connect_failures > 0
        {
            EjectReason::ConnectFailures
        } else if reached(errors, rules.eject_after_errors) || on_trial && errors > 0 {
            EjectReason::Errors
        } else {
            if on_trial {
                group.trial_succeeded(serial, now);
                self.dirty.insert(tracked.service.clone());
            }
            return;
        };
        self.eject(serial, reason, now);
    }

    fn eject(&mut self, serial: u64, reason: EjectReason, now: Instant) {
        let Some(tracked) = self.tracked.get(&serial) else { return };
        let Some(group) = self.groups.get_mut(&tracked.service) else { return };
        match group.eject(serial, reason, now, &self.rules) {
            Ejected::Already => return,
            Ejected::Refused => {
                self.stats.ejections_refused.one();
                return;
            }
            Ejected::Yes => self.stats.ejected(reason),
        }
        tracked.endpoint.health.end_rows();
        if reason == EjectReason::ConnectFailures && self.schedule.contains(serial) {
            // What can be checked need not wait for its time.
            self.schedule.put(serial, now);
        }
        self.dirty.insert(tracked.service.clone());
        self.restless.insert(tracked.service.clone());
    }

    /// Compares the endpoints of each service with each other.
    fn compare(&mut self, now: Instant) {
        let mut tallies: HashMap<ServiceName, Vec<Tally>, RandomState> = HashMap::default();
        for (serial, tracked) in &mut self.tracked {
            let (answered, failed) = tracked.endpoint.health.counts();
            let (answered_before, failed_before) = std::mem::replace(&mut tracked.counts, (answered, failed));
            let tally = Tally {
                serial: *serial,
                answered: answered.wrapping_sub(answered_before),
                failed: failed.wrapping_sub(failed_before),
            };
            if tally.answered.saturating_add(tally.failed) >= outlier::REQUESTS {
                tallies.entry(tracked.service.clone()).or_default().push(tally);
            }
        }
        for serial in tallies.values().flat_map(|tallies| outlier::outliers(tallies)) {
            self.eject(serial, EjectReason::SuccessRate, now);
        }
    }

    /// Writes the shares of every service that changed.
    fn settle(&mut self, now: Instant) {
        for service in std::mem::take(&mut self.dirty) {
            let Some(group) = self.groups.get(&service) else { continue };
            for (serial, share, verdict) in group.shares(now, &self.rules) {
                let Some(tracked) = self.tracked.get_mut(&serial) else { continue };
                let health = &tracked.endpoint.health;
                if tracked.share != share {
                    tracked.share = share;
                    health.set_share(share);
                }
                if tracked.verdict != verdict {
                    if !matches!(verdict, Verdict::Trial(_)) {
                        health.set_on_trial(false);
                    }
                    self.log.changed(&service, &tracked.endpoint.spec, tracked.verdict, verdict, now);
                    tracked.verdict = verdict;
                    health.show(|shown| (shown.verdict, shown.since) = (verdict, now));
                }
            }
            if group.is_restless(now, &self.rules) {
                self.restless.insert(service);
            }
        }
    }
}

/// With checks off, what is held is still asked: somebody has to say whether it lives.
fn wants_checks(endpoint: &Endpoint, rules: &HealthConfig) -> bool {
    (rules.active && endpoint.takes_requests()) || endpoint.spec.held.is_some()
}

fn contains(service: &Service, endpoint: &Endpoint) -> bool {
    // In the order of their indices; an index has one serial.
    find(&service.all, endpoint.id.index).is_some_and(|found| found.id == endpoint.id)
}

fn contains_routable(service: &Service, endpoint: &Endpoint) -> bool {
    find(&service.routable, endpoint.id.index).is_some()
}

fn find(endpoints: &[Arc<Endpoint>], index: usize) -> Option<&Arc<Endpoint>> {
    let position = endpoints.binary_search_by_key(&index, |endpoint| endpoint.id.index).ok()?;
    endpoints.get(position)
}

#[cfg(test)]
mod tests;
