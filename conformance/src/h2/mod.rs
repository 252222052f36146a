//! HTTP/2: raw frames in, frames and the service's view out.

mod frame;
mod hpack;
mod table;
mod connection;
mod run;
mod cases;
mod floods;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::case::{Outcome, Verdict};
use crate::upstream::{Answer, Upstream};
use crate::wire::Target;

/// Cases at the same time.
const THREADS: usize = 8;

fn name(tls: bool) -> &'static str {
    if tls { "h2" } else { "h2c" }
}

fn all(only: &str) -> Vec<&'static table::Case> {
    cases::ALL.iter().flat_map(|table| table.iter()).filter(|case| case.id.contains(only)).collect()
}

/// Runs every case of HTTP/2, then the floods one after the other.
pub(crate) fn suite(target: &Target, upstream: &Upstream, only: &str) -> Vec<Outcome> {
    let all = all(only);
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(vec![Verdict::Passed; all.len()]);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = all.get(index) else { break };
                    let path = format!("/{}", upstream.token(Answer::Ordinary));
                    let verdict = run::verdict(case, target, &path);
                    verdicts.lock().unwrap_or_else(PoisonError::into_inner)[index] = verdict;
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut outcomes: Vec<_> =
        all.iter().zip(verdicts).map(|(case, verdict)| outcome(case, target.tls, verdict)).collect();
    outcomes.extend(floods::suite(target, upstream, only, name(target.tls)));
    outcomes
}

fn outcome(case: &table::Case, tls: bool, verdict: Verdict) -> Outcome {
    let table::Case { id, section, level, what, .. } = *case;
    Outcome { suite: name(tls), id: id.into(), section, level, what, verdict }
}

/// Every case, skipped for `reason`.
pub(crate) fn skipped(tls: bool, only: &str, reason: &str) -> Vec<Outcome> {
    let skip = || Verdict::Skipped(reason.into());
    let mut outcomes: Vec<_> = all(only).iter().map(|case| outcome(case, tls, skip())).collect();
    outcomes.extend(floods::skipped(name(tls), only, &skip()));
    outcomes
}

/// Every case's id, section and description.
pub(crate) fn list() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut list: Vec<_> = all("").iter().map(|case| (case.id, case.section, case.what)).collect();
    list.extend(floods::list());
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_an_id_of_its_own() {
        let mut ids: Vec<_> = list().iter().map(|(id, ..)| *id).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
