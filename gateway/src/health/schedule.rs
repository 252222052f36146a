//! When which endpoint is checked. Pure: one entry per endpoint in the order of its time, no timer of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

/// Checks per second on the whole: a hundred thousand endpoints must not cost the requests their processor.
pub const CHECKS_PER_SECOND: usize = 1000;

/// Of these, what is planned for regular checks; the rest is for new endpoints and for second looks.
pub const PLANNED_PER_SECOND: usize = 800;

/// After a failure that decided nothing.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Due times of endpoints, by serial.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeSet<(Instant, u64)>,
    times: HashMap<u64, Instant, RandomState>,
}

impl Schedule {
    /// Puts `serial` at `at`, in the place of its last time if it has one.
    pub fn put(&mut self, serial: u64, at: Instant) {
        if let Some(before) = self.times.insert(serial, at) {
            self.due.remove(&(before, serial));
        }
        self.due.insert((at, serial));
    }

    /// Forgets `serial`.
    pub fn remove(&mut self, serial: u64) {
        if let Some(at) = self.times.remove(&serial) {
            self.due.remove(&(at, serial));
        }
    }

    /// Takes out the one that has been due for the longest.
    pub fn pop(&mut self, now: Instant) -> Option<u64> {
        let (at, serial) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, serial));
        self.times.remove(&serial);
        Some(serial)
    }

    /// Whether `serial` has a time.
    pub fn contains(&self, serial: u64) -> bool {
        self.times.contains_key(&serial)
    }
}

/// When the next check of an endpoint begins whose last one began at `began`. `soon`: that one failed and decided nothing.
/// `random` is uniform in 0..=1000.
pub fn next(began: Instant, soon: bool, interval: Duration, endpoints: usize, random: u32) -> Instant {
    if soon {
        return began + SECOND_LOOK.min(interval);
    }
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    let planned = u32::try_from(PLANNED_PER_SECOND).unwrap_or(u32::MAX);
    let interval = interval.max(Duration::from_secs(1).saturating_mul(endpoints) / planned);
    // Up to a fifth earlier, never later: gateways that started together drift apart, and the promise of the
    // configuration holds.
    began + interval - interval / 5 * random.min(1000) / 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_endpoint_has_one_time_and_comes_out_in_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::default();
        schedule.put(1, at(5));
        schedule.put(2, at(3));
        schedule.put(1, at(1));
        schedule.put(3, at(2));
        schedule.remove(3);
        assert_eq!(schedule.pop(at(0)), None);
        assert_eq!((schedule.pop(at(9)), schedule.pop(at(9)), schedule.pop(at(9))), (Some(1), Some(2), None));
        assert!(!schedule.contains(1));
    }

    proptest! {
        #[test]
        fn never_later_than_the_interval_and_never_more_than_is_planned(
            seconds in 1..60_u64, endpoints in 0..200_000_usize, random in 0..=1000_u32,
        ) {
            let (now, interval) = (Instant::now(), Duration::from_secs(seconds));
            let wait = next(now, false, interval, endpoints, random) - now;
            let pace = Duration::from_millis(u64::try_from(endpoints).unwrap() * 1000 / 800);
            prop_assert!(wait <= interval.max(pace) + Duration::from_millis(1));
            prop_assert!(wait * 5 + Duration::from_millis(5) >= interval.max(pace) * 4);
            prop_assert_eq!(next(now, true, interval, endpoints, random) - now, Duration::from_secs(1));
        }
    }
}
