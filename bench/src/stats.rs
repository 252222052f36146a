//! Order statistics of a few numbers.

/// Numbers in order; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    /// `None` of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        (!numbers.is_empty()).then_some(Self(numbers))
    }

    /// The middle one; of two middle ones their mean.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        let (low, high) = (self.at(self.0.len().saturating_sub(1) / 2), self.at(middle));
        f64::midpoint(low, high)
    }

    /// The smallest number that at least `percent` of all do not exceed (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.at((self.0.len() * percent).div_ceil(100).saturating_sub(1))
    }

    pub(crate) fn min(&self) -> f64 {
        self.at(0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.at(self.0.len().saturating_sub(1))
    }

    fn at(&self, index: usize) -> f64 {
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        let hundred = Sorted::of((1..=200).map(f64::from)).unwrap();
        assert_eq!((hundred.percentile(50), hundred.percentile(99), hundred.max()), (100.0, 198.0, 200.0));
        assert_eq!((hundred.median(), hundred.min()), (100.5, 1.0));
        let one = Sorted::of([3.0]).unwrap();
        assert_eq!((one.median(), one.percentile(99)), (3.0, 3.0));
        assert_eq!(Sorted::of([5.0, 1.0, 3.0]).map(|s| s.median()), Some(3.0));
        assert!(Sorted::of([]).is_none());
    }
}
