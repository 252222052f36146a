//! The clock of leases: monotonic time minus the time in which this process did not run.

use std::time::Duration;

/// A gap between two observations that counts as a pause of the process. The driver observes every [`TICK`].
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How often the driver observes.
pub const TICK: Duration = Duration::from_millis(100);

/// Lease time. Subtracting a pause once moves every deadline by it: nobody could renew while we stood still.
#[derive(Debug)]
pub(super) struct LeaseClock {
    last: Duration,
    paused: Duration,
}

impl LeaseClock {
    pub(super) fn new(now: Duration) -> Self {
        Self { last: now, paused: Duration::ZERO }
    }

    /// The lease time of the last observation, in milliseconds.
    pub(super) fn last_ms(&self) -> u64 {
        millis(self.last.saturating_sub(self.paused))
    }

    /// Takes `now` in and returns the lease time in milliseconds. Time that goes back is ignored.
    pub(super) fn observe(&mut self, now: Duration) -> u64 {
        let gap = now.saturating_sub(self.last);
        if gap > PAUSE {
            self.paused += gap.saturating_sub(TICK);
        }
        self.last = self.last.max(now);
        self.last_ms()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_does_not_count_and_ordinary_time_does() {
        let at = Duration::from_millis;
        let mut clock = LeaseClock::new(at(5_000));
        assert_eq!(clock.observe(at(6_000)), 6_000, "a second is no pause");
        assert_eq!(clock.observe(at(16_000)), 6_100, "ten seconds are, a tick of them counts");
        assert_eq!(clock.observe(at(15_000)), 6_100, "time does not go back");
        assert_eq!(clock.observe(at(16_500)), 6_600);
    }
}
