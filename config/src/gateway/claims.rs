//! Two things of one process cannot listen at the same place; better told here than as "address in use".

use std::ops::Range;

use super::{ListenAddress, Mistake};
use crate::env::EnvError;
use crate::reader::Reading;

/// Where a setting was said.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// In the file, at this place.
    File(Range<usize>),
    /// In this variable.
    Environment(&'static str),
    /// With this flag.
    Flag(&'static str),
    /// Nowhere.
    Default,
}

/// Something that wants to listen at an address.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) what: &'static str,
    pub(super) address: ListenAddress,
    pub(super) origin: Origin,
}

/// A mistake for each claim that an earlier one has taken, told where the operator said one of the two.
pub(super) fn judge(claims: &[Claim], reading: &mut Reading<'_>, mistakes: &mut Vec<Mistake>) {
    for (index, claim) in claims.iter().enumerate() {
        let Some(earlier) = claims.iter().take(index).find(|c| collide(&c.address, &claim.address)) else {
            continue;
        };
        let (told, other) =
            if matches!(claim.origin, Origin::Default) { (earlier, claim) } else { (claim, earlier) };
        let wrong = format!("the address of {} is taken by {} ({})", told.what, other.what, other.address);
        let rule = match told.address {
            ListenAddress::Tcp(_) => "give each its own port",
            ListenAddress::Unix(_) => "give each its own path",
        };
        match &told.origin {
            Origin::File(at) => reading.mistake(at, wrong, rule),
            Origin::Environment(variable) => mistakes.push(Mistake::InEnvironment(EnvError {
                variable: (*variable).to_owned(),
                value: told.address.to_string(),
                rule: format!("{wrong}; {rule}"),
            })),
            Origin::Flag(flag) => mistakes.push(Mistake::InFlag {
                flag,
                value: told.address.to_string(),
                rule: format!("{wrong}; {rule}"),
            }),
            // Two defaults: they differ.
            Origin::Default => {}
        }
    }
}

/// Whether the second of the two could not be bound. 0.0.0.0 has a port of every address of its family.
fn collide(a: &ListenAddress, b: &ListenAddress) -> bool {
    let (ListenAddress::Tcp(a), ListenAddress::Tcp(b)) = (a, b) else { return a == b };
    let (x, y) = (a.ip(), b.ip());
    let overlap = x == y || (x.is_ipv4() == y.is_ipv4() && (x.is_unspecified() || y.is_unspecified()));
    a.port() == b.port() && a.port() != 0 && overlap
}
