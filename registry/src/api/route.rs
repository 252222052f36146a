//! Which call a path is.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path of the API, its variable parts decoded but not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route<'p> {
    Register,
    Heartbeat,
    Deregister { service: Cow<'p, str> },
    Services,
    Service { service: Cow<'p, str> },
    Health,
    Metrics,
    Instance { service: Cow<'p, str>, id: Cow<'p, str> },
    Heartbeats,
    Snapshot,
    Watch,
    Ack,
    Barrier,
    Probes,
    Rejects,
    Leases,
    Release,
    Audit,
}

pub(super) fn find(path: &str) -> Option<Route<'_>> {
    let mut segments = path.strip_prefix('/')?.split('/');
    // No path of ours has more than five segments.
    let first = (segments.next(), segments.next(), segments.next(), segments.next(), segments.next());
    if segments.next().is_some() {
        return None;
    }
    Some(match first {
        (Some("heartbeat"), None, ..) => Route::Heartbeat,
        (Some("register"), None, ..) => Route::Register,
        (Some("deregister"), Some(service), None, ..) => Route::Deregister { service: decode(service)? },
        (Some("services"), None, ..) => Route::Services,
        (Some("services"), Some(service), None, ..) => Route::Service { service: decode(service)? },
        (Some("health"), None, ..) => Route::Health,
        (Some("metrics"), None, ..) => Route::Metrics,
        (Some("v1"), Some("heartbeats"), None, ..) => Route::Heartbeats,
        (Some("v1"), Some("snapshot"), None, ..) => Route::Snapshot,
        (Some("v1"), Some("watch"), None, ..) => Route::Watch,
        (Some("v1"), Some("ack"), None, ..) => Route::Ack,
        (Some("v1"), Some("barrier"), None, ..) => Route::Barrier,
        (Some("v1"), Some("probes"), None, ..) => Route::Probes,
        (Some("v1"), Some("rejects"), None, ..) => Route::Rejects,
        (Some("v1"), Some("leases"), None, ..) => Route::Leases,
        (Some("v1"), Some("release"), None, ..) => Route::Release,
        (Some("v1"), Some("audit"), None, ..) => Route::Audit,
        (Some("v1"), Some("services"), Some(service), Some("instances"), Some(id)) => {
            Route::Instance { service: decode(service)?, id: decode(id)? }
        }
        _ => return None,
    })
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

impl Route<'_> {
    /// For metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Heartbeat => "heartbeat",
            Self::Deregister { .. } => "deregister",
            Self::Services => "services",
            Self::Service { .. } => "service",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Instance { .. } => "instance",
            Self::Heartbeats => "heartbeats",
            Self::Snapshot => "snapshot",
            Self::Watch => "watch",
            Self::Ack => "ack",
            Self::Barrier => "barrier",
            Self::Probes => "probes",
            Self::Rejects => "rejects",
            Self::Leases => "leases",
            Self::Release => "release",
            Self::Audit => "audit",
        }
    }

    /// What may be done with it. HEAD does not wait, so what waits has none.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Register
            | Self::Heartbeat
            | Self::Heartbeats
            | Self::Ack
            | Self::Probes
            | Self::Rejects
            | Self::Release => &["POST"],
            Self::Deregister { .. } => &["DELETE"],
            Self::Instance { .. } => &["PUT", "PATCH", "DELETE"],
            Self::Watch | Self::Barrier => &["GET"],
            Self::Services
            | Self::Service { .. }
            | Self::Health
            | Self::Metrics
            | Self::Snapshot
            | Self::Leases
            | Self::Audit => &["GET", "HEAD"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_rule() {
        let instance = |service: &'static str, id: &'static str| Route::Instance {
            service: service.into(),
            id: id.into(),
        };
        assert_eq!(find("/heartbeat"), Some(Route::Heartbeat));
        assert_eq!(find("/v1/services/ab/instances/h:1"), Some(instance("ab", "h:1")));
        assert_eq!(find("/v1/services/ab/instances/h%3A1"), Some(instance("ab", "h:1")));
        assert_eq!(find("/services/a%2Fb"), Some(Route::Service { service: "a/b".into() }));
        for unknown in [
            "",
            "/",
            "/register/",
            "//register",
            "/services/a/b",
            "/services/%ff",
            "/v1",
            "/v1/services/ab/instances",
            "/v1/services/ab/instances/a/b",
            "/V1/watch",
            "*",
        ] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }
}
