//! Counters of checks and ejections, written by the driver alone.

use super::verdict::{CheckResult, EjectReason};
use crate::telemetry::metrics::Counter;

/// What was done so far.
#[derive(Debug, Default)]
pub struct HealthStats {
    checks: [Counter; CheckResult::LABELS.len()],
    ejections: [Counter; EjectReason::ALL.len()],
    /// Ejections that were not carried out: too many are out, or it was the last good one.
    pub ejections_refused: Counter,
}

impl HealthStats {
    /// Counts a check.
    pub fn checked(&self, result: CheckResult) {
        let label = result.label();
        if let Some((_, counter)) = CheckResult::LABELS.iter().zip(&self.checks).find(|(l, _)| **l == label) {
            counter.one();
        }
    }

    /// Counts an ejection.
    pub fn ejected(&self, reason: EjectReason) {
        if let Some((_, counter)) = EjectReason::ALL.iter().zip(&self.ejections).find(|(r, _)| **r == reason)
        {
            counter.one();
        }
    }

    /// Checks by what they came to.
    pub fn checks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CheckResult::LABELS.into_iter().zip(self.checks.iter().map(Counter::get))
    }

    /// Ejections by reason.
    pub fn ejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EjectReason::ALL.into_iter().map(EjectReason::label).zip(self.ejections.iter().map(Counter::get))
    }
}
