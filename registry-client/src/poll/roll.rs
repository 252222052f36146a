//! Who is on the list of a polled registry, what was last read of each name, and when each is to be read again. Pure.
//!
//! The original marks a replica as failed for every 500 it gives, and gives 500 for every name in its cache: reading
//! eagerly takes it down for everybody (Q1, Q2). So a good name is read rarely, and a failing one less and less often.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::name::shorten;
use vertice_registry_api::{ServiceName, SourceState};

use crate::backoff::{doubled, spread};
use crate::event::{Authority, Event, MAX_REJECTS, Reject, SetChange};
use crate::poll::record::{Read, Record};

/// Between two good reads of a name: half the original's lease.
const GOOD_PAUSE: Duration = Duration::from_secs(30);
/// After a failed read: 1, 2, 4 .. seconds up to as much as after a good one.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// One read in so many is for a name that was read before, while both sorts wait.
const KNOWN_TURN: u8 = 5;
/// Spread of all pauses, so that names do not march in step.
const SPREAD: f64 = 0.25;
/// Failed reads after which a name no longer holds up the first whole read: some names of the original can never be
/// read (Q1, Q6).
const SETTLED_FAILURES: u32 = 3;
/// The longest that the first whole read waits for names that fail, once at least one was read.
const FIRST_READ_LIMIT: Duration = Duration::from_secs(30);
/// How long an answer with an older registration than the known one is taken for a replica's frozen cache (Q7, Q8):
/// the original's lease and its sweep. After that the clock there went back, and the answer is the truth.
const FROZEN_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug)]
struct Entry {
    record: Option<Record>,
    /// When the record was last confirmed.
    confirmed: Instant,
    absent: bool,
    broken: Option<String>,
    failures: u32,
    /// Its place in one of the queues.
    queued: Option<Instant>,
}

/// The list and its memory.
#[derive(Debug)]
pub(crate) struct Roll {
    entries: BTreeMap<ServiceName, Entry>,
    /// Names without an answer yet, by the time of their next read. A name being read is in no queue.
    unknown: BTreeSet<(Instant, ServiceName)>,
    /// Names to read again, in the same way.
    known: BTreeSet<(Instant, ServiceName)>,
    /// Counts the reads, for the turns that the two queues take.
    turn: u8,
    bad_names: Vec<Reject>,
    bad_names_total: usize,
    started: Instant,
    whole: bool,
}

impl Roll {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            entries: BTreeMap::new(),
            unknown: BTreeSet::new(),
            known: BTreeSet::new(),
            turn: 0,
            bad_names: Vec::new(),
            bad_names_total: 0,
            started: now,
            whole: false,
        }
    }

    /// Takes a new list in: new names are to be read now, names that left are forgotten.
    pub(crate) fn listed(&mut self, names: &[String], now: Instant) {
        self.bad_names.clear();
        self.bad_names_total = 0;
        let mut good = BTreeSet::new();
        for text in names {
            match ServiceName::parse(text) {
                Ok(name) => {
                    good.insert(name);
                }
                Err(error) => {
                    self.bad_names_total += 1;
                    if self.bad_names.len() < MAX_REJECTS {
                        self.bad_names.push(Reject { name: shorten(text), reason: error.0 });
                    }
                }
            }
        }
        self.entries.retain(|name, _| good.contains(name));
        self.unknown.retain(|(_, name)| good.contains(name));
        self.known.retain(|(_, name)| good.contains(name));
        for name in good {
            self.entries.entry(name.clone()).or_insert_with(|| {
                self.unknown.insert((now, name));
                Entry {
                    record: None,
                    confirmed: now,
                    absent: false,
                    broken: None,
                    failures: 0,
                    queued: Some(now),
                }
            });
        }
    }

    /// The next name to read, if one is due. It is not given out again before its [`Roll::read`].
    ///
    /// When reads are scarce, both queues are behind: unknown names go first, because nobody reaches their services before
    /// they are read; known names get every [`KNOWN_TURN`]th read, so that names that can never be read do not use up all.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<ServiceName> {
        self.turn = (self.turn + 1) % KNOWN_TURN;
        let is_due =
            |queue: &BTreeSet<(Instant, ServiceName)>| queue.first().is_some_and(|(due, _)| *due <= now);
        let (unknown, known) = (is_due(&self.unknown), is_due(&self.known));
        let queue = if unknown && (!known || self.turn != 0) {
            &mut self.unknown
        } else if known {
            &mut self.known
        } else {
            return None;
        };
        let (_, name) = queue.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.queued = None;
        }
        Some(name)
    }

    /// When the next name is due; `None` when all are being read.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.unknown.first().into_iter().chain(self.known.first()).map(|(due, _)| *due).min()
    }

    /// Takes the outcome of one read in, and says what is proven by it. `unit` (0..1) is the jitter.
    pub(crate) fn read(&mut self, name: ServiceName, read: Read, now: Instant, unit: f64) -> Vec<SetChange> {
        // It left the list while it was being read.
        let Some(entry) = self.entries.get_mut(&name) else { return Vec::new() };
        let mut changes = Vec::new();
        let pause = match read {
            Read::Good(record) => {
                entry.failures = 0;
                entry.absent = false;
                if !is_frozen(entry, &record, now) {
                    changes.extend(record.instances.iter().cloned().map(SetChange::Upsert));
                    entry.broken.clone_from(&record.remark);
                    entry.record = Some(record);
                    entry.confirmed = now;
                }
                GOOD_PAUSE
            }
            Read::Absent => {
                entry.record = None;
                entry.absent = true;
                entry.broken = None;
                entry.fail()
            }
            Read::Broken(reason) => {
                entry.broken = Some(reason);
                entry.fail();
                GOOD_PAUSE
            }
            Read::Failed(_) => entry.fail(),
        };
        let due = now + spread(pause, SPREAD, unit);
        // It stands in a queue already if it left the list and came back while this read was under way.
        if let Some(before) = entry.queued.replace(due) {
            self.unknown.remove(&(before, name.clone()));
            self.known.remove(&(before, name.clone()));
        }
        let queue = if entry.record.is_some() { &mut self.known } else { &mut self.unknown };
        queue.insert((due, name));
        changes
    }

    /// Whether the list and what is on it were read as far as can be. Once so, it stays so.
    pub(crate) fn is_whole(&mut self, now: Instant) -> bool {
        if !self.whole {
            let answered = |e: &Entry| e.record.is_some() || e.absent || e.broken.is_some();
            let any = self.entries.is_empty() || self.entries.values().any(answered);
            let all = self.entries.values().all(|e| answered(e) || e.failures >= SETTLED_FAILURES);
            let late = now.saturating_duration_since(self.started) >= FIRST_READ_LIMIT;
            self.whole = any && (all || late);
        }
        self.whole
    }

    /// All last good records as one whole read.
    pub(crate) fn replaced(&self) -> Event {
        let instances = self.entries.values().filter_map(|e| e.record.as_ref());
        let unread = self.entries.iter().filter(|(_, e)| e.record.is_none() && !e.absent);
        Event::Replaced {
            instances: instances.flat_map(|record| record.instances.iter().cloned()).collect(),
            unread: unread.map(|(name, _)| name.clone()).collect(),
            position: None,
            state: SourceState::Serving,
            authority: Authority::Partial,
        }
    }

    /// What is left out, or bent to fit, now.
    pub(crate) fn rejects(&self) -> (Vec<Reject>, usize) {
        let broken = || {
            self.entries.iter().filter_map(|(name, entry)| {
                Some(Reject { name: name.to_string(), reason: entry.broken.clone()? })
            })
        };
        let total = self.bad_names_total + broken().count();
        (self.bad_names.iter().cloned().chain(broken()).take(MAX_REJECTS).collect(), total)
    }
}

impl Entry {
    /// Counts a failure; returns the pause after it.
    fn fail(&mut self) -> Duration {
        let pause = doubled(FAILED_PAUSE, GOOD_PAUSE, self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// Whether `record` is an older registration of the one instance that the original keeps per name.
fn is_frozen(entry: &Entry, record: &Record, now: Instant) -> bool {
    let legacy = |r: &Record| r.instances.iter().all(|i| i.instance_id.is_legacy());
    entry.record.as_ref().is_some_and(|known| {
        legacy(known)
            && legacy(record)
            && !record.registered_at.is_zero()
            && record.registered_at < known.registered_at
            && now.saturating_duration_since(entry.confirmed) < FROZEN_LIMIT
    })
}

#[cfg(test)]
mod tests;
