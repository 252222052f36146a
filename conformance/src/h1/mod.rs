//! HTTP/1.1: bytes in, bytes seen by the service and by the client out.

pub(crate) mod chunked;
pub(crate) mod table;
mod answers;
mod run;
mod judge;
mod cases;

use crate::case::Outcome;
use crate::upstream::Upstream;
use crate::wire::Target;

/// Runs every case of HTTP/1.1.
pub(crate) fn suite(target: &Target, upstream: &Upstream, only: &str) -> Vec<Outcome> {
    let all: Vec<_> =
        cases::ALL.iter().flat_map(|table| table.iter()).filter(|c| c.id.contains(only)).collect();
    let observed = run::all(&all, target, upstream);
    all.iter().zip(observed).map(|(case, observed)| judge::outcome(case, &observed, upstream)).collect()
}

/// Every case's id, section and description.
pub(crate) fn list() -> Vec<&'static table::Case> {
    cases::ALL.iter().flat_map(|table| table.iter()).collect()
}

/// The status of a plain GET, outside of every case.
pub(crate) fn plain_status(target: &Target) -> Option<u16> {
    run::plain_status(target)
}
