//! `[health]`: how the gateway finds out by itself which endpoints answer.

use std::ops::RangeInclusive;

use super::{HealthConfig, defaults};
use crate::keys::Key;
use crate::reader::{Reading, Section};
use crate::values;

/// Checks in a row: one may be a lost packet, a hundred is a lost hour.
const CHECKS: RangeInclusive<usize> = 1..=100;
/// Requests in a row; 0 switches the rule off.
const REQUESTS: RangeInclusive<usize> = 0..=10_000;
const PERCENT: RangeInclusive<usize> = 0..=100;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "active",
        kind: "true or false",
        default: Some("true"),
        absent: "",
        example: "false",
        what: "Whether every endpoint is asked at its registered health path (2xx is healthy, redirects are not \
               followed). An instance that registers the metadata `health = tcp` is only connected to, and so is one with \
               `protocol = grpc` that says nothing of `health`; one with `health = grpc` is asked by \
               `grpc.health.v1.Health/Check` over HTTP/2 without TLS, for the service that the metadata `grpc_service` \
               name (the whole server where they do not), and SERVING is healthy. An endpoint that \
               is new to a service with others gets no request before its first check.",
        why: "A registration says that a process started, not that it answers.",
    },
    Key {
        name: "interval",
        kind: "duration",
        default: Some("\"3s\""),
        absent: "",
        example: "\"10s\"",
        what: "Between two checks of an endpoint, up to a fifth shorter at random; one second after a failure that has \
               decided nothing yet. Each check is a connection of its own. With more endpoints than 800 per second of \
               the interval it grows accordingly.",
        why: "With the other defaults, what dies is found within 5 seconds.",
    },
    Key {
        name: "timeout",
        kind: "duration",
        default: Some("\"1s\""),
        absent: "",
        example: "\"500ms\"",
        what: "For one check, from the look-up of the name to the head of the answer. At most `interval`.",
        why: "A health page that takes a second is of a service that has no time for requests either.",
    },
    Key {
        name: "unhealthy_after",
        kind: "integer, 1 to 100",
        default: Some("2"),
        absent: "",
        example: "3",
        what: "Failed checks in a row after which an endpoint gets no requests while another is good.",
        why: "One may be a lost packet.",
    },
    Key {
        name: "healthy_after",
        kind: "integer, 1 to 100",
        default: Some("1"),
        absent: "",
        example: "2",
        what: "Passed checks in a row after which it gets requests again.",
        why: "A page that answers is there; waiting only keeps the others under load.",
    },
    Key {
        name: "eject_after_connect_failures",
        kind: "integer, 0 to 10000",
        default: Some("3"),
        absent: "",
        example: "5",
        what: "Requests in a row, of all workers, that could not connect: the endpoint is left out for 10 s, longer each \
               time, up to 5 min, or until a check reaches it. 0: never.",
        why: "The requests themselves went elsewhere; three in a row are no accident.",
    },
    Key {
        name: "eject_after_errors",
        kind: "integer, 0 to 10000",
        default: Some("5"),
        absent: "",
        example: "10",
        what: "Requests in a row that were answered 502, 503 or 504, broken off or not answered in time: the endpoint is \
               left out for 10 s, longer each time, up to 5 min, and comes back with one request as a trial. 0: never.",
        why: "An endpoint that fails fast looks idle and would draw all requests.",
    },
    Key {
        name: "max_ejected_percent",
        kind: "integer, 0 to 100",
        default: Some("50"),
        absent: "",
        example: "30",
        what: "Share of a service's endpoints that failed requests alone can have left out at once. The last good endpoint \
               of a service is never left out. 0: requests never decide, only checks.",
        why: "When more than half fail, the fault is probably not theirs, and the rest could not carry the load.",
    },
    Key {
        name: "panic_percent",
        kind: "integer, 0 to 100",
        default: Some("50"),
        absent: "",
        example: "20",
        what: "With a smaller share of a service's endpoints good, the others that answer get requests, too, if badly or \
               too late. Those that do not answer at all get some only when no endpoint does. 0: only when none is good.",
        why: "A few good ones under the load of all fall next, and so many failing checks may be wrong.",
    },
    Key {
        name: "slow_start",
        kind: "duration or \"none\"",
        default: Some("\"none\""),
        absent: "",
        example: "\"30s\"",
        what: "Time in which an endpoint that comes to others, or comes back, grows from a tenth of its share to all of it.",
        why: "The choice by requests in flight already spares an endpoint that is slow because it is cold.",
    },
];

/// What `section` says over the defaults.
pub(super) fn read(section: Option<&Section<'_, '_>>, reading: &mut Reading<'_>) -> HealthConfig {
    let base = defaults::HEALTH;
    let Some(section) = section else { return base };
    let active = section.value(reading, "active", values::boolean).map_or(base.active, |said| said.value);
    let mut duration = |key| section.value(reading, key, values::duration);
    let (said_interval, said_timeout) = (duration("interval"), duration("timeout"));
    let at = said_timeout.as_ref().or(said_interval.as_ref()).map(|said| said.at.clone());
    let interval = said_interval.map_or(base.interval, |said| said.value);
    let timeout = said_timeout.map_or(base.timeout, |said| said.value);
    if let Some(at) = at.filter(|_| timeout > interval) {
        reading.mistake(
            &at,
            format!("`health.timeout` ({timeout:?}) is longer than `interval` ({interval:?})"),
            "give a `timeout` of at most `interval`: one check is over before the next begins",
        );
    }
    let mut number = |key, bounds: RangeInclusive<usize>, default: u32| {
        let said = section.value(reading, key, |v| values::number(v, *bounds.start(), *bounds.end()));
        said.and_then(|said| u32::try_from(said.value).ok()).unwrap_or(default)
    };
    HealthConfig {
        active,
        interval,
        timeout,
        unhealthy_after: number("unhealthy_after", CHECKS, base.unhealthy_after),
        healthy_after: number("healthy_after", CHECKS, base.healthy_after),
        eject_after_connect_failures: number(
            "eject_after_connect_failures",
            REQUESTS,
            base.eject_after_connect_failures,
        ),
        eject_after_errors: number("eject_after_errors", REQUESTS, base.eject_after_errors),
        max_ejected_percent: number("max_ejected_percent", PERCENT, base.max_ejected_percent),
        panic_percent: number("panic_percent", PERCENT, base.panic_percent),
        slow_start: section
            .value(reading, "slow_start", values::duration_or_none)
            .map_or(base.slow_start, |said| said.value),
    }
}
