//! How fast a client is: the rate that it owes for the time in which we wait for it, and a look at how it takes its answer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::timer::{TICKS_PER_SECOND, Tick};

/// Ticks that a client may be waited for before its rate counts: ten seconds, as for a head.
pub const GRACE: Tick = 200;

/// The tick at which a client is too slow that owes `rate` bytes per second, has moved `bytes`, was waited for for `waited`
/// ticks and is waited for since `since`. Only the time in which it is waited for counts: a service that takes its time is
/// not its fault.
pub fn too_slow_at(rate: u64, bytes: u64, waited: Tick, since: Tick) -> Tick {
    let earned = bytes.saturating_mul(TICKS_PER_SECOND) / rate.max(1);
    let allowed = GRACE.saturating_add(earned);
    since.saturating_add(allowed.saturating_sub(waited))
}

/// How a client takes an answer. Atomic for the same reason as the clock that it is a part of.
#[derive(Debug)]
pub struct Reader {
    /// Bytes per second; 0: it owes none.
    rate: AtomicU64,
    /// What it took.
    bytes: AtomicU64,
    /// Ticks for which it was waited for, without the wait that goes on now.
    waited: AtomicU64,
    /// When the wait that goes on now began; `u64::MAX`: there is none.
    since: AtomicU64,
    /// When it is too slow, if that wait goes on.
    late_at: AtomicU64,
}

impl Reader {
    /// One that owes nothing.
    pub fn new() -> Self {
        Self {
            rate: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            since: AtomicU64::new(u64::MAX),
            late_at: AtomicU64::new(u64::MAX),
        }
    }

    /// Another answer begins, of which it owes to take `rate` bytes per second.
    pub fn owes(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.since.store(u64::MAX, Ordering::Relaxed);
        self.late_at.store(u64::MAX, Ordering::Relaxed);
    }

    /// It is waited for at `now`, and shares what it owes with `shared_by` answers, this one among them. When it is too slow.
    pub fn waits(&self, now: Tick, shared_by: u32) -> Option<Tick> {
        let rate = Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)?;
        if !self.is_waiting() {
            self.since.store(now, Ordering::Relaxed);
        }
        let (bytes, waited) = (self.bytes.load(Ordering::Relaxed), self.waited.load(Ordering::Relaxed));
        let owed = rate / u64::from(shared_by.max(1));
        let at = too_slow_at(owed, bytes, waited, self.since.load(Ordering::Relaxed));
        self.late_at.store(at, Ordering::Relaxed);
        Some(at)
    }

    /// It took `bytes`, and is not waited for.
    pub fn took(&self, bytes: u64, now: Tick) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
        if self.is_waiting() {
            let wait = now.saturating_sub(self.since.swap(u64::MAX, Ordering::Relaxed));
            self.waited.store(self.waited.load(Ordering::Relaxed).saturating_add(wait), Ordering::Relaxed);
            self.late_at.store(u64::MAX, Ordering::Relaxed);
        }
    }

    /// Whether it is waited for.
    pub fn is_waiting(&self) -> bool {
        self.since.load(Ordering::Relaxed) != u64::MAX
    }

    /// Whether it is waited for at `now` and has had its time.
    pub fn is_late(&self, now: Tick) -> bool {
        now >= self.late_at.load(Ordering::Relaxed)
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_owes_its_rate_only_while_it_is_waited_for_and_shares_it() {
        let reader = Reader::new();
        assert_eq!(reader.waits(5, 1), None, "nobody asked for a rate");
        reader.owes(Some(100));
        assert_eq!(reader.waits(100, 1), Some(100 + GRACE));
        assert_eq!(reader.waits(150, 1), Some(100 + GRACE), "it is one wait");
        assert!(!reader.is_late(100 + GRACE - 1) && reader.is_late(100 + GRACE));
        reader.took(200, 150);
        assert!(!reader.is_late(10_000), "the service is slow, not the client");
        // 200 bytes at 100 a second are two seconds, at 50 four; 50 ticks of waiting are gone.
        assert_eq!(reader.waits(10_000, 1), Some(10_000 + GRACE + 40 - 50));
        assert_eq!(reader.waits(10_000, 2), Some(10_000 + GRACE + 80 - 50));
        reader.owes(Some(100));
        assert_eq!(reader.waits(20_000, 1), Some(20_000 + GRACE), "each answer begins anew");
    }
}
