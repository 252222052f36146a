//! What happens next: events in the order of their times, and of their making where these are equal.

use std::collections::BTreeMap;
use std::time::Duration;

/// A queue of `E`.
pub struct Queue<E> {
    events: BTreeMap<(Duration, u64), E>,
    made: u64,
}

impl<E> Queue<E> {
    pub fn new() -> Self {
        Self { events: BTreeMap::new(), made: 0 }
    }

    pub fn at(&mut self, time: Duration, event: E) {
        self.made += 1;
        self.events.insert((time, self.made), event);
    }

    /// When the next one is.
    pub fn due(&self) -> Option<Duration> {
        self.events.first_key_value().map(|((time, _), _)| *time)
    }

    pub fn next(&mut self) -> Option<(Duration, E)> {
        self.events.pop_first().map(|((time, _), event)| (time, event))
    }
}
