//! Finding the first matching route without looking at all of them.
//!
//! One hash look-up for the exact path and one per segment border of the request's path, per kind of host that is in
//! use: the cost depends on the request, not on the number of routes.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use vertice_config::gateway::{HostPattern, PathPattern};

use super::order::{Rank, rank};
use super::spec::{RequestView, Route};

type ByText<T> = HashMap<Box<str>, T, RandomState>;

/// All routes of one configuration, compiled.
#[derive(Debug, Default)]
pub struct Routes {
    /// In their total order.
    ordered: Vec<Route>,
    exact_hosts: ByText<Paths>,
    wildcard_hosts: ByText<Paths>,
    any_host: Paths,
}

/// The routes of one host pattern by path; positions in `ordered`, strongest first.
#[derive(Debug, Default)]
struct Paths {
    exact: ByText<Vec<usize>>,
    prefix: ByText<Vec<usize>>,
    longest_prefix_bytes: usize,
}

impl Routes {
    /// Compiles `routes`, given in the order of the configuration.
    pub fn compile(routes: Vec<Route>) -> Self {
        let mut ranked: Vec<(Rank, Route)> =
            routes.into_iter().enumerate().map(|(index, route)| (rank(&route, index), route)).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut compiled = Self::default();
        for (position, (_, route)) in ranked.iter().enumerate() {
            let paths = match &route.host {
                None => &mut compiled.any_host,
                Some(HostPattern::Exact(host)) => {
                    compiled.exact_hosts.entry(host.as_str().into()).or_default()
                }
                Some(HostPattern::Wildcard(host)) => {
                    compiled.wildcard_hosts.entry(host.as_str().into()).or_default()
                }
            };
            paths.insert(&route.path, position);
        }
        compiled.ordered = ranked.into_iter().map(|(_, route)| route).collect();
        compiled
    }

    /// The strongest route that the request falls under.
    pub fn find(&self, request: &RequestView<'_>) -> Option<&Route> {
        if let Some(route) =
            self.exact_hosts.get(request.host).and_then(|paths| self.find_path(paths, request))
        {
            return Some(route);
        }
        if !self.wildcard_hosts.is_empty() {
            // The suffixes behind each dot, longest first.
            for (dot, _) in request.host.match_indices('.') {
                let suffix = request.host.get(dot + 1..).unwrap_or_default();
                let paths = if dot == 0 { None } else { self.wildcard_hosts.get(suffix) };
                if let Some(route) = paths.and_then(|paths| self.find_path(paths, request)) {
                    return Some(route);
                }
            }
        }
        self.find_path(&self.any_host, request)
    }

    /// All routes in their total order.
    pub fn in_order(&self) -> &[Route] {
        &self.ordered
    }

    fn find_path<'a>(&'a self, paths: &'a Paths, request: &RequestView<'_>) -> Option<&'a Route> {
        let first_that_fits = |positions: &'a Vec<usize>| {
            positions
                .iter()
                .filter_map(|position| self.ordered.get(*position))
                .find(|route| route.judge_rest(request).is_ok())
        };
        if !paths.exact.is_empty()
            && let Some(route) = paths.exact.get(request.path).and_then(first_that_fits)
        {
            return Some(route);
        }
        // The whole path, then what stands before each slash, longest first, the empty root last.
        let mut end = request.path.len();
        loop {
            let candidate = request.path.get(..end)?;
            if end <= paths.longest_prefix_bytes
                && let Some(route) = paths.prefix.get(candidate).and_then(first_that_fits)
            {
                return Some(route);
            }
            end = candidate.rfind('/')?;
        }
    }
}

impl Paths {
    fn insert(&mut self, path: &PathPattern, position: usize) {
        match path {
            PathPattern::Exact(path) => self.exact.entry(path.as_str().into()).or_default().push(position),
            PathPattern::Prefix(path) => {
                self.longest_prefix_bytes = self.longest_prefix_bytes.max(path.len());
                self.prefix.entry(path.as_str().into()).or_default().push(position);
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use http::header::{HeaderName, HeaderValue};
    use http::{HeaderMap, Method};
    use proptest::prelude::*;
    use vertice_config::gateway::{HeaderPattern, OwnTimeouts};

    use super::*;
    use crate::route::spec::{Action, Edits};

    fn route(
        host: Option<HostPattern>,
        path: PathPattern,
        methods: Vec<Method>,
        headers: Vec<HeaderPattern>,
    ) -> Route {
        Route {
            name: String::new(),
            host,
            path,
            methods,
            headers,
            action: Action::ToNamed,
            policies: None,
            edits: Edits::default(),
            body_bytes: None,
            timeouts: OwnTimeouts::default(),
            built_in: false,
        }
    }

    fn hosts() -> impl Strategy<Value = Option<HostPattern>> {
        prop_oneof![
            Just(None),
            "[ab](\\.[ab]){0,2}".prop_map(|h| Some(HostPattern::Exact(h))),
            "[ab](\\.[ab]){0,1}".prop_map(|h| Some(HostPattern::Wildcard(h))),
        ]
    }

    fn paths() -> impl Strategy<Value = PathPattern> {
        prop_oneof![
            "(/[ab]?){1,3}".prop_map(PathPattern::Exact),
            "(/[ab]){0,3}".prop_map(PathPattern::Prefix),
        ]
    }

    fn routes() -> impl Strategy<Value = Route> {
        let methods = prop::sample::subsequence(vec![Method::GET, Method::POST], 0..2);
        let header = prop::option::of(prop::option::of("[xy]")).prop_map(|h| {
            h.into_iter()
                .map(|value| HeaderPattern {
                    name: HeaderName::from_static("k"),
                    value: value.map(|v| HeaderValue::from_str(&v).unwrap()),
                })
                .collect()
        });
        (hosts(), paths(), methods, header).prop_map(|(h, p, m, k)| route(h, p, m, k))
    }

    proptest! {
        /// The index finds exactly the first route of the total order that fits, and the order is total.
        #[test]
        fn finds_what_looking_at_all_in_order_finds(
            routes in prop::collection::vec(routes(), 0..12),
            host in "[ab](\\.[ab]){0,3}",
            path in "(/[ab]?){1,4}",
            post in any::<bool>(),
            value in prop::option::of("[xy]"),
        ) {
            let routes: Vec<Route> = routes
                .into_iter()
                .enumerate()
                .map(|(i, r)| Route { name: i.to_string(), ..r })
                .collect();
            let mut headers = HeaderMap::new();
            if let Some(value) = &value {
                headers.insert("k", HeaderValue::from_str(value).unwrap());
            }
            let method = if post { Method::POST } else { Method::GET };
            let request = RequestView { host: &host, path: &path, method: &method, headers: &headers };
            let mut brute: Vec<_> = routes.iter().enumerate().map(|(i, r)| (rank(r, i), r)).collect();
            brute.sort_by_key(|(rank, _)| *rank);
            prop_assert!(brute.windows(2).all(|pair| pair[0].0 < pair[1].0), "two routes have one rank");
            let expected = brute.iter().find(|(_, r)| r.judge(&request).is_ok()).map(|(_, r)| r.name.clone());
            let compiled = Routes::compile(routes.clone());
            prop_assert_eq!(compiled.find(&request).map(|r| r.name.clone()), expected);
        }
    }

    #[test]
    fn prefixes_end_on_segment_borders() {
        let routes = Routes::compile(vec![route(None, PathPattern::Prefix("/a".into()), vec![], vec![])]);
        let headers = HeaderMap::new();
        for (path, found) in [("/a", true), ("/a/", true), ("/a/b", true), ("/ab", false), ("/", false)] {
            let request = RequestView { host: "h", path, method: &Method::GET, headers: &headers };
            assert_eq!(routes.find(&request).is_some(), found, "{path}");
        }
    }
}
