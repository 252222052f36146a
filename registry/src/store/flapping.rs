//! Quarantine: when one instance's record is taken over again and again, two processes fight over the same id (or one
//! restarts in a circle). Each takeover is a change that every gateway has to apply, so after some the holder keeps
//! the record for a while and the others are told why.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::clock::millis;

/// Takeovers that are accepted within [`WINDOW`]: a rolling restart makes one, a crash loop with a pause three.
const ACCEPTED: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);
/// It ends by itself after this; then it is counted anew.
const QUARANTINE: Duration = Duration::from_mins(1);
/// Between two looks at what can be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Record {
    /// Times of the last takeovers, at most [`ACCEPTED`].
    recent: VecDeque<u64>,
    until_ms: Option<u64>,
}

/// Takeover refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quarantined {
    pub(super) left: Duration,
    /// It begins with this one.
    pub(super) begins: bool,
}

/// Slots that were taken over within the last minute or so.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    records: BTreeMap<u32, Record>,
    forget_ms: u64,
}

impl Flapping {
    /// Whether `slot` may be taken over now; a yes counts.
    pub(super) fn take_over(&mut self, slot: u32, now_ms: u64) -> Result<(), Quarantined> {
        let record = self.records.entry(slot).or_default();
        if let Some(until_ms) = record.until_ms {
            if now_ms < until_ms {
                let left = Duration::from_millis(until_ms - now_ms);
                return Err(Quarantined { left, begins: false });
            }
            *record = Record::default();
        }
        while record.recent.front().is_some_and(|at| at + millis(WINDOW) <= now_ms) {
            record.recent.pop_front();
        }
        if record.recent.len() < ACCEPTED {
            record.recent.push_back(now_ms);
            return Ok(());
        }
        record.until_ms = Some(now_ms + millis(QUARANTINE));
        Err(Quarantined { left: QUARANTINE, begins: true })
    }

    /// How long `slot` is still in quarantine.
    pub(super) fn left(&self, slot: u32, now_ms: u64) -> Option<Duration> {
        let until_ms = self.records.get(&slot)?.until_ms?;
        (now_ms < until_ms).then(|| Duration::from_millis(until_ms - now_ms))
    }

    /// How many are in quarantine.
    pub(super) fn count(&self, now_ms: u64) -> usize {
        self.records.values().filter(|record| record.until_ms.is_some_and(|until| now_ms < until)).count()
    }

    /// The slot's instance has gone.
    pub(super) fn forget(&mut self, slot: u32) {
        self.records.remove(&slot);
    }

    /// Forgets what is over.
    pub(super) fn pass(&mut self, now_ms: u64) {
        if now_ms < self.forget_ms {
            return;
        }
        self.forget_ms = now_ms + millis(FORGET_EVERY);
        self.records.retain(|_, record| {
            let last = record.recent.back().is_some_and(|at| now_ms < at + millis(WINDOW));
            last || record.until_ms.is_some_and(|until_ms| now_ms < until_ms)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_minute_are_accepted_and_the_sixth_begins_a_quarantine_that_ends() {
        let mut flapping = Flapping::default();
        for at in 0..5 {
            assert_eq!(flapping.take_over(7, at * 1000), Ok(()));
        }
        assert_eq!(flapping.take_over(8, 5_000), Ok(()), "another instance is another matter");
        let begins = Quarantined { left: QUARANTINE, begins: true };
        assert_eq!(flapping.take_over(7, 5_000), Err(begins));
        let later = Quarantined { left: Duration::from_secs(20), begins: false };
        assert_eq!(flapping.take_over(7, 45_000), Err(later));
        assert_eq!((flapping.count(45_000), flapping.left(7, 45_000)), (1, Some(Duration::from_secs(20))));
        assert_eq!(flapping.take_over(7, 65_000), Ok(()));
        assert_eq!((flapping.count(65_000), flapping.left(7, 65_000)), (0, None));
    }

    #[test]
    fn takeovers_that_are_far_apart_do_not_add_up_and_are_forgotten() {
        let mut flapping = Flapping::default();
        for at in 0..50 {
            assert_eq!(flapping.take_over(7, at * 12_001), Ok(()));
        }
        flapping.pass(50 * 12_001 + 60_000);
        assert!(flapping.records.is_empty());
        flapping.forget(7);
    }
}
