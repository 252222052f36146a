//! What a row of health checks makes of a service's status. Pure.

use std::time::Duration;

use vertice_registry_api::Status;

/// Failed checks in a row that make a service down: one may be a busy moment.
pub const FAILURES_TO_DOWN: u8 = 3;

/// When the service is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The deadline of one check.
    pub check: Duration,
    /// Between two checks while all is well.
    pub well: Duration,
    /// Between two checks while something is wrong: a verdict, or a recovery, is near.
    pub unwell: Duration,
    /// The first pause of the wait before the registration; it doubles.
    pub first_pause: Duration,
    /// The longest pause of that wait.
    pub longest_pause: Duration,
}

impl Timing {
    /// The original's deadline and pauses; checks twice per heartbeat, from 5 to 10 s apart: seldom enough to cost
    /// nothing, and a service that dies is down after 5 + 2 + 2 s, inside the ten seconds that are promised.
    pub fn new(heartbeat_interval: Option<Duration>) -> Self {
        let (least, most) = (Duration::from_secs(5), Duration::from_secs(10));
        Self {
            check: Duration::from_secs(5),
            well: heartbeat_interval.map_or(least, |interval| (interval / 2).clamp(least, most)),
            unwell: Duration::from_secs(2),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(10),
        }
    }

    /// The pause of the initial wait after `failures` checks.
    pub fn initial_pause(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first_pause.saturating_mul(factor).min(self.longest_pause)
    }
}

/// The status that the checks add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthState {
    status: Status,
    failures: u8,
}

impl HealthState {
    /// After the initial wait: up, or starting if it never was healthy.
    pub fn new(healthy: bool) -> Self {
        Self { status: if healthy { Status::Up } else { Status::Starting }, failures: 0 }
    }

    /// What is registered.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Takes one check in. Whether the status changed.
    pub fn observe(&mut self, healthy: bool) -> bool {
        if healthy {
            self.failures = 0;
            return std::mem::replace(&mut self.status, Status::Up) != Status::Up;
        }
        self.failures = self.failures.saturating_add(1);
        let goes_down = self.status == Status::Up && self.failures >= FAILURES_TO_DOWN;
        if goes_down {
            self.status = Status::Down;
        }
        goes_down
    }

    /// How long until the next check.
    pub fn pause(&self, timing: &Timing) -> Duration {
        if self.status == Status::Up && self.failures == 0 { timing.well } else { timing.unwell }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_down_and_one_success_is_up() {
        let mut state = HealthState::new(true);
        let changes: Vec<_> =
            [false, false, true, false, false, false, false, true].map(|ok| state.observe(ok)).into();
        assert_eq!(changes, [false, false, false, false, false, true, false, true]);
        assert_eq!(state.status(), Status::Up);
    }

    #[test]
    fn a_service_that_was_never_healthy_keeps_starting() {
        let mut state = HealthState::new(false);
        for _ in 0..300 {
            assert!(!state.observe(false));
        }
        assert_eq!(state.status(), Status::Starting);
        assert!(state.observe(true));
        assert_eq!(state.status(), Status::Up);
    }

    #[test]
    fn it_is_looked_at_more_often_while_something_is_wrong() {
        let timing = Timing::new(None);
        let mut state = HealthState::new(true);
        assert_eq!(state.pause(&timing), timing.well);
        state.observe(false);
        assert_eq!(state.pause(&timing), timing.unwell);
    }

    #[test]
    fn pauses_by_the_originals_rule() {
        let timing = Timing::new(None);
        let pauses: Vec<_> = (0..6).map(|n| timing.initial_pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
        for (heartbeat_s, check_s) in [(2, 5), (16, 8), (30, 10), (300, 10)] {
            assert_eq!(Timing::new(Some(Duration::from_secs(heartbeat_s))).well.as_secs(), check_s);
        }
    }
}
