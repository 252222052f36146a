//! When failed checks prove that nobody is there any more, and not that our own network is broken. Pure.

use tokio::time::Instant;

use super::verdict::CheckResult;

/// One may be a lost packet.
const CHECKS: u32 = 2;

/// A row of checks of one endpoint that brought no connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    since: Option<Instant>,
    checks: u32,
}

impl Silence {
    /// Takes in a check that began at `began`; `contact`: when a check of whichever endpoint last came to a connection.
    /// Whether this one is dead: several checks in a row could not connect, and since the first of them another endpoint
    /// was reached. Whoever connects, even to answer badly, lives; a name without an address may be the resolver's fault.
    pub fn checked(&mut self, result: CheckResult, began: Instant, contact: Option<Instant>) -> bool {
        match result {
            CheckResult::Refused | CheckResult::ConnectTimeout => {
                let since = *self.since.get_or_insert(began);
                self.checks = self.checks.saturating_add(1);
                self.checks >= CHECKS && contact.is_some_and(|contact| contact > since)
            }
            CheckResult::Passed
            | CheckResult::BadStatus(_)
            | CheckResult::NotServing
            | CheckResult::Unknown
            | CheckResult::Unimplemented
            | CheckResult::NoSuchService
            | CheckResult::BadAnswer
            | CheckResult::Tls
            | CheckResult::Late => {
                *self = Self::default();
                false
            }
            CheckResult::Unresolved | CheckResult::Forbidden | CheckResult::Inconclusive => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn two_checks_without_a_connection_are_a_proof_only_while_others_are_reached() {
        let now = Instant::now();
        let mut silence = Silence::default();
        assert!(!silence.checked(CheckResult::Refused, now, Some(now)), "one is none");
        assert!(!silence.checked(CheckResult::Refused, now + 5 * S, Some(now)), "nobody was reached since");
        assert!(!silence.checked(CheckResult::Refused, now + 10 * S, None));
        assert!(silence.checked(CheckResult::ConnectTimeout, now + 15 * S, Some(now + 12 * S)));
        for lives in
            [CheckResult::Passed, CheckResult::BadStatus(500), CheckResult::BadAnswer, CheckResult::Late]
        {
            silence.checked(CheckResult::Refused, now, None);
            assert!(!silence.checked(lives, now + 20 * S, Some(now + 12 * S)));
            assert!(!silence.checked(CheckResult::Refused, now + 25 * S, Some(now + 30 * S)), "{lives:?}");
        }
    }

    #[test]
    fn what_is_not_the_endpoints_doing_proves_nothing() {
        for ours in [CheckResult::Unresolved, CheckResult::Forbidden, CheckResult::Inconclusive] {
            let (mut silence, now) = (Silence::default(), Instant::now());
            for n in 0..9 {
                assert!(!silence.checked(ours, now + n * S, Some(now + 100 * S)), "{ours:?}");
            }
        }
    }
}
