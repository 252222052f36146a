//! Success rate against the others: an endpoint that fails some requests, never enough in a row. Pure.
//!
//! Measured against the median, not against a fixed rate: when what all of them depend on is down, all fail alike and
//! nobody is an outlier.

use std::time::Duration;

/// How long requests are gathered for one comparison.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Endpoints with enough requests: of two that differ nobody can say which is wrong; with five, one cannot move the median.
pub const PEERS: usize = 5;

/// Requests of one endpoint in a window: with fewer, a few unlucky ones look like a rate.
pub const REQUESTS: u64 = 50;

/// Below this share of failures nobody is ejected, however much better the others are: the capacity is worth more.
const LEAST_PERCENT: u64 = 20;

/// An outlier fails this many times the median share of failures.
const TIMES_MEDIAN: u64 = 3;

/// What one endpoint did in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Which.
    pub serial: u64,
    /// Requests that it answered.
    pub answered: u64,
    /// Requests that it failed.
    pub failed: u64,
}

/// The endpoints that fail far more than their peers, the worst first.
pub fn outliers(tallies: &[Tally]) -> Vec<u64> {
    let permille = |tally: &Tally| {
        let all = tally.answered.saturating_add(tally.failed);
        (all >= REQUESTS).then(|| tally.failed.saturating_mul(1000) / all)
    };
    let mut shares: Vec<(u64, u64)> =
        tallies.iter().filter_map(|tally| Some((permille(tally)?, tally.serial))).collect();
    if shares.len() < PEERS {
        return Vec::new();
    }
    shares.sort_unstable();
    let median = shares.get(shares.len() / 2).map_or(1000, |(share, _)| *share);
    let limit = (LEAST_PERCENT * 10).max(median.saturating_mul(TIMES_MEDIAN));
    shares.into_iter().rev().filter(|(share, _)| *share >= limit).map(|(_, serial)| serial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rows: &[(u64, u64)]) -> Vec<u64> {
        let serials = 0..;
        let tallies: Vec<_> = serials
            .zip(rows)
            .map(|(serial, (answered, failed))| Tally { serial, answered: *answered, failed: *failed })
            .collect();
        outliers(&tallies)
    }

    #[test]
    fn who_fails_far_more_than_the_median_is_an_outlier_and_nobody_else() {
        for (rows, expected) in [
            (&[(100, 0), (100, 0), (100, 1), (100, 0), (50, 50)][..], &[4][..]),
            // The worst first.
            (&[(100, 0), (100, 0), (100, 0), (60, 40), (50, 50)], &[4, 3]),
            // A tenth is not worth an endpoint.
            (&[(100, 0), (100, 0), (100, 0), (100, 0), (90, 10)], &[]),
            // What they depend on is down: all fail.
            (&[(50, 50), (55, 45), (60, 40), (50, 50), (10, 90)], &[]),
            // Too few peers, or too few requests.
            (&[(100, 0), (100, 0), (100, 0), (0, 100)], &[]),
            (&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 49)], &[]),
            (&[(49, 0), (100, 0), (100, 0), (100, 0), (0, 100)], &[]),
            (&[], &[]),
        ] {
            assert_eq!(judge(rows), expected, "{rows:?}");
        }
    }
}
