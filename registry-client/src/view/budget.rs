//! How much may go at once: what is within it is taken at the source's word, a mass is not.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::ServiceName;

use super::HOLD_LIMIT;

/// For this long an expiry counts against the budget.
pub(super) const EXPIRY_WINDOW: Duration = Duration::from_mins(1);
/// 10 % of a service.
const OF_SERVICE: usize = 10;
/// 5 % of everything.
const OF_ALL: usize = 20;
/// Half of everything.
const OF_ALL_BY_ABSENCE: usize = 2;

/// Expiries that apply at once: 10 % of the service and 5 % of all within a minute, always at least one.
///
/// Leases that run out together are a cut between sidecars and registry more often than so many deaths.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpiryBudget {
    log: VecDeque<(Instant, ServiceName)>,
    by_service: BTreeMap<ServiceName, usize>,
}

impl ExpiryBudget {
    /// Takes one expiry from the budget, if it is in it. `of_service` and `of_all` are known now, this one included.
    pub(super) fn take(
        &mut self,
        service: &ServiceName,
        of_service: usize,
        of_all: usize,
        now: Instant,
    ) -> bool {
        self.forget(now);
        let gone = self.by_service.get(service).copied().unwrap_or(0);
        let gone_of_all = self.log.len();
        let allowed = ((of_service + gone) / OF_SERVICE).max(1);
        let allowed_of_all = ((of_all + gone_of_all) / OF_ALL).max(1);
        if gone >= allowed || gone_of_all >= allowed_of_all {
            return false;
        }
        self.log.push_back((now, service.clone()));
        *self.by_service.entry(service.clone()).or_default() += 1;
        true
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, service)) =
            self.log.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= EXPIRY_WINDOW)
        {
            if let Some(count) = self.by_service.get_mut(&service) {
                *count -= 1;
                if *count == 0 {
                    self.by_service.remove(&service);
                }
            }
        }
    }
}

/// The guard against mass removal: of what is not known to be dead, at most half goes by confirmed absence within the
/// time of a hold. So no sequence of reads can empty the table while the instances answer.
#[derive(Clone, Debug, Default)]
pub(super) struct AbsenceGuard {
    log: VecDeque<(Instant, usize)>,
}

impl AbsenceGuard {
    /// Takes `count` removals, all or none. `of_all` are known now, these included.
    pub(super) fn take(&mut self, count: usize, of_all: usize, now: Instant) -> bool {
        while self.log.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= HOLD_LIMIT).is_some() {}
        let gone: usize = self.log.iter().map(|(_, count)| count).sum();
        let allowed = (of_all + gone) / OF_ALL_BY_ABSENCE;
        if gone + count > allowed {
            return false;
        }
        self.log.push_back((now, count));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::name;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn ten_percent_of_a_service_five_of_all_and_never_less_than_one() {
        // (of the service, of all, applied)
        for (of_service, of_all, applied) in
            [(1, 1, 1), (2, 2, 1), (19, 1000, 1), (20, 1000, 2), (100, 1000, 10), (100, 100, 5), (100, 59, 2)]
        {
            let (mut budget, now) = (ExpiryBudget::default(), Instant::now());
            let (mut known, mut all, mut gone) = (of_service, of_all, 0);
            for _ in 0..of_service {
                // A refused one stays known.
                if budget.take(&name("alpha"), known, all, now) {
                    (known, all, gone) = (known - 1, all - 1, gone + 1);
                }
            }
            assert_eq!(gone, applied, "{of_service} of {of_all}");
        }
    }

    #[test]
    fn it_fills_up_again_after_a_minute() {
        let (mut budget, now) = (ExpiryBudget::default(), Instant::now());
        let alpha = name("alpha");
        assert!(budget.take(&alpha, 5, 9, now));
        assert!(!budget.take(&alpha, 4, 8, now + 59 * S));
        assert!(budget.take(&alpha, 4, 8, now + 60 * S));
        assert!(!budget.take(&alpha, 3, 7, now + 60 * S));
    }

    #[test]
    fn other_services_have_their_own_share_and_share_that_of_all() {
        let (mut budget, now) = (ExpiryBudget::default(), Instant::now());
        assert!(budget.take(&name("alpha"), 3, 40, now));
        assert!(!budget.take(&name("alpha"), 2, 39, now));
        assert!(budget.take(&name("beta"), 3, 39, now));
        assert!(!budget.take(&name("gamma"), 3, 38, now), "two of forty are 5 %");
    }

    #[test]
    fn the_guard_lets_half_go_and_never_the_last() {
        let now = Instant::now();
        for (count, of_all, allowed) in
            [(1, 1, false), (1, 2, true), (2, 2, false), (50, 100, true), (51, 100, false)]
        {
            assert_eq!(AbsenceGuard::default().take(count, of_all, now), allowed, "{count} of {of_all}");
        }
        // Half, and half of the rest, and so on, does not empty a table either.
        let (mut guard, mut known) = (AbsenceGuard::default(), 1000);
        for second in 0..600 {
            for count in (1..=known).rev() {
                if guard.take(count, known, now + second * S) {
                    known -= count;
                    break;
                }
            }
        }
        assert_eq!(known, 500);
    }
}
