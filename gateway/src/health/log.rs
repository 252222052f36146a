//! A line in the log per change of an endpoint's verdict, as long as there are not too many.

use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::ServiceName;

use super::verdict::Verdict;
use crate::table::EndpointSpec;

/// Lines per second; what is beyond is counted in one more line.
const LINES: usize = 20;

/// Keeps count of the lines of this second.
#[derive(Debug, Default)]
pub struct ChangeLog {
    second: Option<Instant>,
    lines: usize,
}

impl ChangeLog {
    /// Notes a change. New endpoints that are good, and trials, are no news.
    pub fn changed(
        &mut self,
        service: &ServiceName,
        endpoint: &EndpointSpec,
        from: Verdict,
        to: Verdict,
        now: Instant,
    ) {
        if !is_news(from, to) {
            return;
        }
        self.pulse(now);
        self.second.get_or_insert(now);
        self.lines += 1;
        if self.lines > LINES {
            return;
        }
        let (instance, url) = (&endpoint.instance_id, &endpoint.url);
        if let Some(reason) = to.reason() {
            tracing::warn!(
                %service, %instance, %url, verdict = to.label(), reason,
                "an endpoint gets no requests while another of its service is good"
            );
        } else {
            tracing::info!(%service, %instance, %url, "an endpoint is good again");
        }
    }

    /// Time passes.
    pub fn pulse(&mut self, now: Instant) {
        if self.second.is_some_and(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            if self.lines > LINES {
                tracing::warn!(
                    more = self.lines - LINES,
                    "more endpoints changed between good and bad within a second; /services shows them"
                );
            }
            *self = Self::default();
        }
    }
}

fn is_news(from: Verdict, to: Verdict) -> bool {
    match (from, to) {
        // A trial is no news, nor is one that failed: it was out, and is out.
        (_, Verdict::Trial(_)) | (Verdict::Trial(_), Verdict::Ejected(_)) => false,
        // Nor another reason for the same: refused first, a bad status then.
        (from, to) => from.is_bad() != to.is_bad(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::{CheckResult, EjectReason};
    use super::*;

    #[test]
    fn only_a_change_between_good_and_bad_is_news() {
        let failing = Verdict::Failing(CheckResult::Refused);
        let (ejected, trial) = (Verdict::Ejected(EjectReason::Errors), Verdict::Trial(EjectReason::Errors));
        for (from, to) in [
            (Verdict::Untested, failing),
            (Verdict::Waiting, failing),
            (Verdict::Good, ejected),
            (ejected, Verdict::Good),
            (trial, Verdict::Good),
            (failing, Verdict::Good),
        ] {
            assert!(is_news(from, to), "{from:?} {to:?}");
        }
        for (from, to) in [
            (Verdict::Untested, Verdict::Good),
            (Verdict::Waiting, Verdict::Good),
            (failing, Verdict::Failing(CheckResult::BadStatus(500))),
            (failing, ejected),
            (ejected, trial),
            (trial, ejected),
        ] {
            assert!(!is_news(from, to), "{from:?} {to:?}");
        }
    }
}
