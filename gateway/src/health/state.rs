//! One endpoint's health as requests see it: shared by all workers, carried over from table to table.
//!
//! A request loads one byte. Workers store into it only when something failed or comes back; the rest is written by the
//! driver.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::verdict::{CheckResult, Verdict};

/// How much of its usual share an endpoint gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u8);

impl Share {
    /// Nothing while another endpoint gets something.
    pub const OUT: Self = Self(0);
    /// All of it.
    pub const FULL: Self = Self(100);
    /// One request, then it is out until that is judged.
    pub const TRIAL: Self = Self(u8::MAX);

    /// A part of it, 1 to 100.
    pub fn percent(percent: u8) -> Self {
        Self(percent.clamp(1, 100))
    }

    /// Whether it gets nothing.
    pub fn is_out(self) -> bool {
        self == Self::OUT
    }

    /// Per cent of its usual share; a trial draws its one request as a full one.
    pub fn as_percent(self) -> u8 {
        self.0.min(100)
    }
}

/// What is known of an endpoint's health.
#[derive(Debug)]
pub struct EndpointHealth {
    share: AtomicU8,
    /// Set by the driver: it wants to hear of a success.
    on_trial: AtomicBool,
    /// A notice is on its way to the driver.
    noticed: AtomicBool,
    /// Requests in a row that could not connect.
    connect_failures: AtomicU32,
    /// Requests in a row that failed after they were connected.
    errors: AtomicU32,
    /// Requests that were answered; workers add what they counted twice a second.
    answered: AtomicU64,
    /// Requests that failed, in the same way.
    failed: AtomicU64,
    shown: Mutex<Shown>,
}

/// For people.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// What is thought of it.
    pub verdict: Verdict,
    /// Since when.
    pub since: Instant,
    /// What the last check came to, and when.
    pub last_check: Option<(CheckResult, Instant)>,
    /// Its checks prove that nobody is there; found out only while the registry has no heartbeat of it.
    pub dead: bool,
}

impl EndpointHealth {
    /// Of an endpoint that was just heard of. With `waits` it gets nothing before its first check.
    pub fn new(waits: bool) -> Self {
        let (share, verdict) =
            if waits { (Share::OUT, Verdict::Waiting) } else { (Share::FULL, Verdict::Untested) };
        Self {
            share: AtomicU8::new(share.0),
            on_trial: AtomicBool::new(false),
            noticed: AtomicBool::new(false),
            connect_failures: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            shown: Mutex::new(Shown { verdict, since: Instant::now(), last_check: None, dead: false }),
        }
    }

    /// What a request reads.
    pub fn share(&self) -> Share {
        Share(self.share.load(Ordering::Relaxed))
    }

    /// Called by who sends a request there: one that is on trial gets no other until it is judged. Two workers at the
    /// same instant send two.
    pub fn begin_attempt(&self) {
        if self.share() == Share::TRIAL {
            self.share.store(Share::OUT.0, Ordering::Relaxed);
        }
    }

    /// Adds what one worker counted.
    pub fn add(&self, answered: u32, failed: u32) {
        self.answered.fetch_add(answered.into(), Ordering::Relaxed);
        self.failed.fetch_add(failed.into(), Ordering::Relaxed);
    }

    /// Requests answered and failed since it was heard of, up to half a second ago.
    pub fn counts(&self) -> (u64, u64) {
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Requests in a row that could not connect, and that failed otherwise.
    pub fn in_a_row(&self) -> (u32, u32) {
        (self.connect_failures.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// What people are shown.
    pub fn shown(&self) -> Shown {
        *self.lock()
    }

    /// Ends both rows; stores only where there is one. Whether the driver waits to hear of it.
    pub(super) fn answered_well(&self) -> bool {
        if self.in_a_row() != (0, 0) {
            self.end_rows();
        }
        self.is_on_trial()
    }

    /// One more that could not connect; how many in a row.
    pub(super) fn not_connected(&self) -> u32 {
        self.connect_failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// One more that failed otherwise; how many in a row. It was connected, which ends the other row.
    pub(super) fn answered_badly(&self) -> u32 {
        if self.connect_failures.load(Ordering::Relaxed) != 0 {
            self.connect_failures.store(0, Ordering::Relaxed);
        }
        self.errors.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether a notice has to be sent: not while one is on its way.
    pub(super) fn wants_notice(&self) -> bool {
        !self.noticed.swap(true, Ordering::AcqRel)
    }

    /// The notice has arrived, or could not be sent.
    pub(super) fn notice_over(&self) {
        self.noticed.store(false, Ordering::Release);
    }

    pub(super) fn set_share(&self, share: Share) {
        self.share.store(share.0, Ordering::Relaxed);
    }

    /// Whether each outcome has to be told.
    pub(super) fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Relaxed)
    }

    pub(super) fn set_on_trial(&self, on_trial: bool) {
        self.on_trial.store(on_trial, Ordering::Relaxed);
    }

    pub(super) fn end_rows(&self) {
        self.connect_failures.store(0, Ordering::Relaxed);
        self.errors.store(0, Ordering::Relaxed);
    }

    pub(crate) fn show(&self, write: impl FnOnce(&mut Shown)) {
        write(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
