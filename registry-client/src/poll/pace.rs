//! How hard a polled registry is asked: eight reads at once while it is well, one at a time and with pauses when not. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, spread};
use crate::error::SourceError;
use crate::poll::record::Read;

/// Reads at once: well under what one process of the original takes, and a full read of 125 names within a second.
const PARALLEL_READS: usize = 8;
/// Failures in a row, over all names, that mean the registry and not the names: a round of parallel reads.
const FAILURES_IN_ROW: u32 = 8;
/// The longest pause: the time after which the original's load balancer tries its replicas again (Q2).
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));

/// The pace of reads of names.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Backoff,
    until: Option<Instant>,
    in_row: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { pause: PAUSE, until: None, in_row: 0 }
    }

    /// Takes the outcome of a read in. `unit` (0..1) is the jitter.
    pub(crate) fn note(&mut self, read: &Read, now: Instant, unit: f64) {
        let Read::Failed(error) = read else {
            self.in_row = 0;
            self.until = None;
            self.pause.reset();
            return;
        };
        self.in_row = self.in_row.saturating_add(1);
        let pausing = self.until.is_some_and(|until| now < until);
        // Reads that were under way when the pause began tell nothing new.
        if !pausing && (is_everybodys(error) || self.in_row >= FAILURES_IN_ROW) {
            self.until = Some(now + spread(self.pause.next(), 0.25, unit));
        }
    }

    /// No read is to begin before this.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many reads may be under way.
    pub(crate) fn slots(&self, now: Instant) -> usize {
        if self.until.is_some_and(|until| now < until) {
            0
        } else if self.pause.failures() > 0 {
            1
        } else {
            PARALLEL_READS
        }
    }
}

/// Whether a failure tells of the registry as a whole and not of one name.
fn is_everybodys(error: &SourceError) -> bool {
    match error {
        SourceError::Connect(_) | SourceError::Timeout(_) | SourceError::Status(429 | 502..=504) => true,
        SourceError::Client(_)
        | SourceError::Status(_)
        | SourceError::NotOurs { .. }
        | SourceError::Truncated(_)
        | SourceError::Digest
        | SourceError::Gap { .. }
        | SourceError::TooLarge(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn failed(status: u16) -> Read {
        Read::Failed(SourceError::Status(status))
    }

    #[test]
    fn a_502_pauses_everything_longer_each_time_until_something_answers() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        assert_eq!(pace.slots(now), 8);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            for _ in 0..8 {
                pace.note(&failed(502), now, 0.5);
            }
            assert_eq!(pace.slots(now), 0);
            pauses.push((pace.until().unwrap() - now).as_secs());
            now = pace.until().unwrap();
            assert_eq!(pace.slots(now), 1, "one to try");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        pace.note(&Read::Absent, now, 0.5);
        assert_eq!(pace.slots(now), 8);
    }

    #[test]
    fn a_500_is_the_names_own_until_every_name_has_it() {
        let mut pace = Pace::new();
        let now = Instant::now();
        for _ in 0..7 {
            pace.note(&failed(500), now, 0.5);
        }
        assert_eq!(pace.slots(now), 8);
        pace.note(&Read::Broken("x".into()), now, 0.5);
        for _ in 0..7 {
            pace.note(&failed(500), now, 0.5);
        }
        assert_eq!(pace.slots(now), 8);
        pace.note(&failed(500), now, 0.5);
        assert_eq!(pace.slots(now), 0);
        assert_eq!(pace.slots(now + 2 * S), 1);
    }
}
