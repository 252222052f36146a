//! What the registry may be told to be applied: what is in a table that every worker has taken up. The drain barrier waits
//! for it, so a worker that still answers from the table before must hold it back.

use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::Position;

/// An idle worker takes a table up within a tick of 50 ms; after this, something is wrong with one.
const LATE: Duration = Duration::from_secs(2);

/// A table that was published with all up to a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    generation: u64,
    position: Position,
    since: Instant,
}

/// Pure: who publishes and who takes up is told to it. Of tables that come faster than they are taken up, one is waited for
/// and the newest comes after it, so that a storm of swaps neither grows this nor starves it.
#[derive(Debug, Default)]
pub struct Applied {
    waiting: Option<Pending>,
    newest: Option<Pending>,
    told_late: bool,
}

impl Applied {
    /// The table `generation` is published, and has everything up to `position`.
    pub fn published(&mut self, generation: u64, position: Position, now: Instant) {
        let pending = Pending { generation, position, since: now };
        match &mut self.waiting {
            None => self.wait_for(Some(pending)),
            // No instance changed, or the table was not published anew for it.
            Some(waiting) if waiting.generation == generation => waiting.position = position,
            Some(_) => match &mut self.newest {
                Some(newest) => (newest.generation, newest.position) = (generation, position),
                None => self.newest = Some(pending),
            },
        }
    }

    /// Every worker has the table `generation` or a later one: what is to be acknowledged now.
    pub fn taken(&mut self, generation: u64) -> Option<Position> {
        let mut reached = None;
        while let Some(pending) = self.waiting.filter(|pending| pending.generation <= generation) {
            reached = Some(pending.position);
            let newest = self.newest.take();
            self.wait_for(newest);
        }
        reached
    }

    /// Since when a table waits for a worker.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting.map(|pending| pending.since)
    }

    /// The generation that has waited for too long; each is told once.
    pub fn is_late(&mut self, now: Instant) -> Option<u64> {
        let waiting = self.waiting.filter(|_| !self.told_late)?;
        self.told_late = now.saturating_duration_since(waiting.since) >= LATE;
        self.told_late.then_some(waiting.generation)
    }

    fn wait_for(&mut self, pending: Option<Pending>) {
        self.waiting = pending;
        self.told_late = false;
    }
}

#[cfg(test)]
mod tests {
    use vertice_registry_api::{Epoch, Revision};

    use super::*;

    fn at(revision: u64) -> Position {
        Position { epoch: Epoch(7), revision: Revision(revision) }
    }

    #[test]
    fn a_position_is_acknowledged_when_its_table_is_taken_up_and_not_before() {
        let (mut applied, now) = (Applied::default(), Instant::now());
        applied.published(3, at(10), now);
        assert_eq!((applied.taken(2), applied.waiting_since()), (None, Some(now)));
        assert_eq!((applied.taken(3), applied.waiting_since()), (Some(at(10)), None));
        assert_eq!(applied.taken(3), None, "once");
        // A change that is not in the table of anybody: the canary's.
        applied.published(3, at(11), now);
        assert_eq!(applied.taken(3), Some(at(11)));
    }

    #[test]
    fn a_storm_of_tables_is_acknowledged_in_steps_however_far_a_worker_is_behind() {
        let (mut applied, now) = (Applied::default(), Instant::now());
        let mut last = None;
        for generation in 1..=1000 {
            applied.published(generation, at(generation * 2), now);
            // The slowest worker is always thirty behind.
            last = applied.taken(generation.saturating_sub(30)).or(last);
        }
        let last = last.unwrap().revision.0;
        assert!((1880..=1940).contains(&last), "{last}");
        assert_eq!(applied.taken(1000), Some(at(2000)));
    }

    #[test]
    fn a_worker_that_stands_still_is_told_once_for_each_table() {
        let (mut applied, now) = (Applied::default(), Instant::now());
        applied.published(1, at(1), now);
        assert_eq!(applied.is_late(now + LATE / 2), None);
        applied.published(2, at(2), now + LATE / 2);
        assert_eq!(applied.is_late(now + LATE), Some(1));
        assert_eq!(applied.is_late(now + LATE * 2), None);
        assert_eq!(applied.taken(1), Some(at(1)));
        assert_eq!(applied.is_late(now + LATE * 2), Some(2), "it waits since it was published");
        assert_eq!(applied.taken(u64::MAX), Some(at(2)));
        assert_eq!(applied.is_late(now + LATE * 9), None);
    }
}
