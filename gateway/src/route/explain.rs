//! Why a request goes where it goes, for people.

use super::index::Routes;
use super::spec::{Mismatch, RequestView, Route};

/// One route that was looked at, in the total order.
#[derive(Debug)]
pub struct Tried<'a> {
    /// Which.
    pub route: &'a Route,
    /// What it failed on; `None`: it matched, and nothing after it was looked at.
    pub mismatch: Option<Mismatch>,
}

/// Every route from the strongest to the one that matched (or to the end).
pub fn explain<'a>(routes: &'a Routes, request: &RequestView<'_>) -> Vec<Tried<'a>> {
    let mut tried = Vec::new();
    for route in routes.in_order() {
        let mismatch = route.judge(request).err();
        let matched = mismatch.is_none();
        tried.push(Tried { route, mismatch });
        if matched {
            break;
        }
    }
    tried
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("another host"),
            Self::Path => f.write_str("another path"),
            Self::Method => f.write_str("another method"),
            Self::Header(name) => write!(f, "header {name} is missing or has another value"),
        }
    }
}
