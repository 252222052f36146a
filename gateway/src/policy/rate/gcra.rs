//! The arithmetic of a rate limit: the generic cell rate algorithm. Pure; times are nanoseconds since any one moment.
//!
//! All that is remembered of somebody is one time: when the requests so far would have come at the limit's own pace. It may
//! lie ahead of now by as much as `burst` requests take at that pace. A time that has passed says as much as none.

use std::time::Duration;

/// A limit in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one request takes at the limit's pace.
    interval: u64,
    /// Requests that may come at once.
    burst: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Admitted(Left),
    /// It does not.
    Refused {
        /// Nanoseconds until one would pass.
        wait: u64,
        /// What there is then.
        left: Left,
    },
}

/// What somebody has left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Requests that would pass now.
    pub requests: u64,
    /// Nanoseconds until the whole burst would.
    pub full_in: u64,
}

impl Rate {
    /// `requests` in every `per`, `burst` of them at once.
    pub fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        Self { interval: (per / u64::from(requests.max(1))).max(1), burst: u64::from(burst.max(1)) }
    }

    /// Nanoseconds that one request takes.
    pub fn interval(&self) -> u64 {
        self.interval
    }

    /// How far ahead of now the remembered time may lie.
    fn most(&self) -> u64 {
        self.interval.saturating_mul(self.burst)
    }

    /// One more request of somebody whose time is `at`: what becomes of it, and the time to remember.
    pub fn take(&self, at: u64, now: u64) -> (Verdict, u64) {
        let ahead = at.saturating_sub(now);
        let after = ahead.saturating_add(self.interval);
        if after > self.most() {
            let wait = after - self.most();
            return (Verdict::Refused { wait, left: self.left(ahead) }, at);
        }
        (Verdict::Admitted(self.left(after)), now.saturating_add(after))
    }

    /// `at` after `requests` more of them, whether they were admitted here or not; fewer than none: they were given back.
    pub fn charge(&self, at: u64, now: u64, requests: i64) -> u64 {
        let cost = self.interval.saturating_mul(requests.unsigned_abs());
        let begin = at.max(now);
        if requests < 0 { begin.saturating_sub(cost) } else { begin.saturating_add(cost) }
    }

    fn left(&self, ahead: u64) -> Left {
        Left { requests: self.most().saturating_sub(ahead) / self.interval, full_in: ahead }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_the_pace_holds() {
        let rate = Rate::new(10, Duration::from_mins(1), 10);
        let mut at = 0;
        let now = 1000 * SECOND;
        for left in (0..10).rev() {
            let (verdict, next) = rate.take(at, now);
            let full_in = (10 - left) * 6 * SECOND;
            assert_eq!(verdict, Verdict::Admitted(Left { requests: left, full_in }));
            at = next;
        }
        let left = Left { requests: 0, full_in: 60 * SECOND };
        assert_eq!(rate.take(at, now), (Verdict::Refused { wait: 6 * SECOND, left }, at));
        assert!(matches!(rate.take(at, now + 6 * SECOND - 1).0, Verdict::Refused { wait: 1, .. }));
        assert!(matches!(rate.take(at, now + 6 * SECOND).0, Verdict::Admitted(_)));
        let rested = Left { requests: 9, full_in: 6 * SECOND };
        assert_eq!(rate.take(at, now + 60 * SECOND).0, Verdict::Admitted(rested));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = Rate::new(1, Duration::from_secs(1), 1);
        let (_, at) = rate.take(0, 5 * SECOND);
        assert!(matches!(rate.take(at, 5 * SECOND).0, Verdict::Refused { .. }));
        let at = rate.charge(at, 5 * SECOND, -1);
        assert!(matches!(rate.take(at, 5 * SECOND).0, Verdict::Admitted(_)));
    }

    proptest! {
        /// Whatever comes when: in any stretch of time no more pass than a burst and the pace allow, and who is refused
        /// passes after the wait that was told.
        #[test]
        fn no_stretch_of_time_has_more_than_the_limit(
            requests in 1u32..1000, per_s in 1u64..100, burst in 1u32..50,
            pauses in prop::collection::vec(0u64..SECOND, 1..200),
        ) {
            let rate = Rate::new(requests, Duration::from_secs(per_s), burst);
            let (mut now, mut at, mut passed) = (SECOND, 0, Vec::new());
            for pause in pauses {
                now += pause;
                let (verdict, next) = rate.take(at, now);
                match verdict {
                    Verdict::Admitted(_) => passed.push(now),
                    Verdict::Refused { wait, .. } => {
                        let passes = |now| matches!(rate.take(at, now).0, Verdict::Admitted(_));
                        prop_assert!(passes(now + wait) && !passes(now + wait - 1));
                    }
                }
                at = next;
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) / rate.interval();
                    prop_assert!(u64::try_from(last - first).unwrap() < most);
                }
            }
        }
    }
}
