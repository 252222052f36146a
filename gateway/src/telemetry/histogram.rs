//! Durations in buckets of powers of two, written by one thread, read by any.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::add_count;

/// From 64 us to 67 s; what lies beyond is in the last bucket.
const BUCKETS: usize = 21;
const FIRST_SHIFT: u32 = 6;

/// One worker's histogram.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

/// The sum of several workers' histograms.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// (upper bound in seconds, count in this bucket alone), the last bound infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Seconds.
    pub seconds: f64,
    /// All observations.
    pub count: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, us: u64) {
        let bits = u64::BITS - us.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(bits.saturating_sub(FIRST_SHIFT)).unwrap_or(BUCKETS).min(BUCKETS);
        if let Some(counter) = self.buckets.get(bucket) {
            add_count(counter, 1);
        }
        add_count(&self.sum_us, us);
    }
}

impl Sum {
    /// Sums up `histograms`.
    pub fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut counts = [0_u64; BUCKETS + 1];
        let mut sum_us = 0;
        for histogram in histograms {
            for (count, bucket) in counts.iter_mut().zip(&histogram.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
            sum_us += histogram.sum_us.load(Ordering::Relaxed);
        }
        let bound = |(index, count): (usize, &u64)| {
            let shift = u32::try_from(index).unwrap_or(0) + FIRST_SHIFT;
            let seconds = std::time::Duration::from_micros(1 << shift).as_secs_f64();
            (if index == BUCKETS { f64::INFINITY } else { seconds }, *count)
        };
        Self {
            buckets: counts.iter().enumerate().map(bound).collect(),
            seconds: std::time::Duration::from_micros(sum_us).as_secs_f64(),
            count: counts.iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for (us, bound) in [
            (0, 64e-6),
            (64, 64e-6),
            (65, 128e-6),
            (128, 128e-6),
            (1_000_000, 1.048_576),
            (u64::MAX / 2, f64::INFINITY),
        ] {
            let histogram = Histogram::default();
            histogram.observe(us);
            let sum = Sum::of([&histogram].into_iter());
            let hit = sum.buckets.iter().find(|(_, count)| *count == 1).unwrap().0;
            assert!((hit - bound).abs() < 1e-9 || hit.is_infinite() == bound.is_infinite(), "{us}: {hit}");
        }
    }
}
