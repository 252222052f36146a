//! How long to wait before trying again. Pure: the random unit comes from outside.

use std::time::Duration;

/// A delay that doubles with each failure, up to a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The delay after one more failure, without jitter.
    pub(crate) fn next(&mut self) -> Duration {
        let delay = doubled(self.first, self.most, self.failures);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `first` times 2 to the power `times`, at most `most`.
pub(crate) fn doubled(first: Duration, most: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}

/// `delay` moved by up to `share` of itself both ways, so that a herd does not come back as one. `unit` is in 0..1.
pub(crate) fn spread(delay: Duration, share: f64, unit: f64) -> Duration {
    delay.mul_f64((1.0 - share + 2.0 * share * unit).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_limit_and_starts_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let delays: Vec<_> = (0..8).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(), Duration::from_secs(1));
        assert_eq!(doubled(Duration::from_secs(1), Duration::MAX, u32::MAX).as_secs(), u64::from(u32::MAX));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let ten = Duration::from_secs(10);
        assert_eq!(spread(ten, 0.1, 0.0), Duration::from_secs(9));
        assert_eq!(spread(ten, 0.1, 1.0), Duration::from_secs(11));
        assert_eq!(spread(ten, 0.0, 0.7), ten);
    }
}
