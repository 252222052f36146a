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
/// Answers in a row after a failure before reads go out in parallel again.
const CAREFUL_ANSWERS: u32 = 32;
/// The longest pause: the time after which the original's load balancer tries its replicas again (Q2).
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// After a 500 while names are unread. It cost the load balancer one of five replicas for 10 s: four failures in that
/// time leave it one.
const LOADING_PAUSE: Duration = Duration::from_millis(2500);
/// After a 500 once all is known: at most two replicas are out at a time, and the heartbeats of the fleet, which go
/// through the same load balancer, do not suffer from our curiosity.
const KNOWN_PAUSE: Duration = Duration::from_secs(5);

/// The pace of reads of names.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Backoff,
    until: Option<Instant>,
    in_row: u32,
    careful: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { pause: PAUSE, until: None, in_row: 0, careful: 0 }
    }

    /// Takes the outcome of a read in. `known`: no first reads wait. `unit` (0..1) is the jitter.
    pub(crate) fn note(&mut self, read: &Read, known: bool, now: Instant, unit: f64) {
        let Read::Failed(error) = read else {
            self.in_row = 0;
            self.careful = self.careful.saturating_sub(1);
            self.pause.reset();
            return;
        };
        self.in_row = self.in_row.saturating_add(1);
        self.careful = CAREFUL_ANSWERS;
        if self.until.is_some_and(|until| now < until) {
            // Reads that were under way when the pause began tell nothing new.
            return;
        }
        let everybodys = is_everybodys(error) || self.in_row >= FAILURES_IN_ROW;
        let longer = if everybodys { self.pause.next() } else { Duration::ZERO };
        let costs = match (matches!(error, SourceError::Status(500)), known) {
            (false, _) => Duration::ZERO,
            (true, false) => LOADING_PAUSE,
            (true, true) => KNOWN_PAUSE,
        };
        let pause = costs.max(longer);
        if pause.is_zero() {
            return;
        }
        self.until = Some(now + spread(pause, 0.25, unit));
    }

    /// No read is to begin before this.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How many reads may be under way.
    pub(crate) fn slots(&self, now: Instant) -> usize {
        if self.until.is_some_and(|until| now < until) {
            0
        } else if self.careful > 0 {
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
        | SourceError::Behind { .. }
        | SourceError::TooLarge(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16) -> Read {
        Read::Failed(SourceError::Status(status))
    }

    /// Milliseconds of the pause after a few reads at once that fail with `status`.
    fn pause(pace: &mut Pace, status: u16, known: bool, now: Instant) -> u128 {
        for _ in 0..3 {
            pace.note(&failed(status), known, now, 0.5);
        }
        assert_eq!(pace.slots(now), 0);
        (pace.until().unwrap() - now).as_millis()
    }

    #[test]
    fn a_502_pauses_everything_longer_each_time_until_something_answers() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        assert_eq!(pace.slots(now), 8);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(pause(&mut pace, 502, true, now));
            now = pace.until().unwrap();
            assert_eq!(pace.slots(now), 1, "one to try");
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        for _ in 0..CAREFUL_ANSWERS {
            assert_eq!(pace.slots(now), 1);
            pace.note(&Read::Absent, true, now, 0.5);
        }
        assert_eq!(pace.slots(now), 8);
        assert_eq!(pause(&mut pace, 502, true, now), 1000, "from the start again");
    }

    #[test]
    fn a_500_costs_a_short_pause_while_loading_and_a_long_one_when_all_is_known() {
        let now = Instant::now();
        for (known, wanted) in [(false, 2500), (true, 5000)] {
            assert_eq!(pause(&mut Pace::new(), 500, known, now), wanted);
        }
    }

    #[test]
    fn a_broken_answer_is_the_names_own_until_every_name_has_it() {
        let mut pace = Pace::new();
        let now = Instant::now();
        for _ in 0..7 {
            pace.note(&failed(418), true, now, 0.5);
        }
        assert_eq!(pace.slots(now), 1);
        pace.note(&Read::Broken("x".into()), true, now, 0.5);
        for _ in 0..7 {
            pace.note(&failed(418), true, now, 0.5);
        }
        assert_eq!(pace.slots(now), 1);
        pace.note(&failed(418), true, now, 0.5);
        assert_eq!(pace.slots(now), 0);
    }
}
