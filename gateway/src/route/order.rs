//! The total order of routes, written once: see the list in the [module](super) text.

use std::cmp::Reverse;

use vertice_config::gateway::{HostPattern, PathPattern};

use super::spec::Route;

/// Sorts before every weaker route. Two different routes never compare equal: `index` is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    host: (u8, Reverse<usize>),
    path: (u8, Reverse<usize>),
    without_methods: bool,
    headers: Reverse<usize>,
    built_in: bool,
    index: usize,
}

/// The rank of `route`, which stands at `index` in the configuration.
pub fn rank(route: &Route, index: usize) -> Rank {
    let host = match &route.host {
        Some(HostPattern::Exact(_)) => (0, Reverse(0)),
        Some(HostPattern::Wildcard(suffix)) => (1, Reverse(suffix.len())),
        None => (2, Reverse(0)),
    };
    let path = match &route.path {
        PathPattern::Exact(_) => (0, Reverse(0)),
        PathPattern::Prefix(prefix) => (1, Reverse(prefix.len())),
    };
    Rank {
        host,
        path,
        without_methods: route.methods.is_empty(),
        headers: Reverse(route.headers.len()),
        built_in: route.built_in,
        index,
    }
}
