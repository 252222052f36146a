//! `[limits]` and `limits` of a listener: what a client may send and how long it may take.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ClientLimits, LimitsConfig, defaults};
use crate::keys::{Key, names};
use crate::reader::{Reading, Section};
use crate::values;

/// The HTTP library reads into a buffer of at least 8 KiB; a head of more than 1 MiB is an attack.
const HEADER_BYTES: RangeInclusive<usize> = 8 * 1024..=1024 * 1024;
/// A browser sends about 20; the header map ends at 24 576 entries.
const HEADER_COUNT: RangeInclusive<usize> = 10..=10_000;
/// RFC 9112 section 3 wants 8000 to be taken, tests want less; the URI type ends at 65 534.
const TARGET_BYTES: RangeInclusive<usize> = 256..=65_534;
/// A file descriptor each; more than the kernel hands out by default to one process is a slip.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// One is enough to be served; thousands on one connection are an attack on the worker that has it.
const STREAMS: RangeInclusive<usize> = 1..=10_000;

/// More in one connection than a day has requests is as good as no limit.
const CONNECTION_REQUESTS: RangeInclusive<usize> = 1..=1_000_000_000;
/// None would refuse clients that close a tab; thousands are an attack.
const RESETS: RangeInclusive<usize> = 1..=10_000;
/// 0: no body at all. Larger than any disk that a service has is as good as no limit.
pub(super) const BODY_BYTES: RangeInclusive<usize> = 0..=1024 * 1024 * 1024 * 1024;
/// Faster than that, and clients with a bad line are cut.
const RATE: RangeInclusive<usize> = 1..=1024 * 1024;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "header_bytes",
        kind: "size, 8KiB to 1MiB",
        default: Some("\"64KiB\""),
        absent: "",
        example: "\"32KiB\"",
        what: "Bytes of a request's head; 431 beyond.",
        why: "Room for fat cookies and tokens, and a bound on what one connection can make us hold.",
    },
    Key {
        name: "header_count",
        kind: "integer, 10 to 10000",
        default: Some("100"),
        absent: "",
        example: "64",
        what: "Header fields of a request; 431 beyond.",
        why: "Browsers send about 20, a chain of proxies as many again.",
    },
    Key {
        name: "target_bytes",
        kind: "size, 256 to 65534 bytes",
        default: Some("\"16KiB\""),
        absent: "",
        example: "\"8KiB\"",
        what: "Bytes of a request's target (path and query); 414 beyond. At most `header_bytes`, which it is part of.",
        why: "Longer than browsers send.",
    },
    Key {
        name: "connections",
        kind: "integer, 1 to 1000000",
        default: Some("50000"),
        absent: "",
        example: "20000",
        what: "Downstream connections of the whole process; more wait in the kernel's queue.",
        why: "About 5 KiB each when idle, 30 KiB when busy. The limit on open files of the process must be higher.",
    },
    Key {
        name: "connections_per_address",
        kind: "integer, 1 to 1000000, or \"none\"",
        default: Some("20000"),
        absent: "",
        example: "200",
        what: "Downstream connections of one client address (of IPv6: of one /64) at one listener; more are closed at once. Trusted \
               proxies are exempt, and with `proxy_protocol` the client that is named counts.",
        why: "No one address takes all of `connections`, and there is room for a load balancer or a carrier behind one.",
    },
    Key {
        name: "connection_requests",
        kind: "integer, 1 to 1000000000, or \"none\"",
        default: Some("100000"),
        absent: "",
        example: "10000",
        what: "Requests of one connection; then it is ended as in a drain, with `Connection: close` or GOAWAY, and no request is lost.",
        why: "Connections that live for ever stay on the workers and processes that were there first.",
    },
    Key {
        name: "connection_age",
        kind: "duration or \"none\"",
        default: Some("\"1h\""),
        absent: "",
        example: "\"10m\"",
        what: "Age of a connection; then it is ended in the same way, quiet or busy. HTTP/2 streams under way and a WebSocket go on.",
        why: "As for `connection_requests`.",
    },
    Key {
        name: "resets",
        kind: "integer, 1 to 10000",
        default: Some("20"),
        absent: "",
        example: "50",
        what: "HTTP/2 streams that a client may have reset before we took them; beyond, the connection is ended (ENHANCE_YOUR_CALM).",
        why: "Opening and resetting costs a client nothing and us work (rapid reset).",
    },
    Key {
        name: "body_bytes",
        kind: "size, 0 to 1TiB, or \"none\"",
        default: Some("\"1GiB\""),
        absent: "",
        example: "\"10MiB\"",
        what: "Bytes of a request's body; 413 beyond: at once where its length is declared, else when it comes to that, and the service \
               sees nothing of what is too much. Not for gRPC calls and WebSockets, which are streams of messages.",
        why: "Bodies are streamed and cost the gateway no memory; the limit is for the services.",
    },
    Key {
        name: "min_body_rate",
        kind: "size per second, 1 to 1MiB, or \"none\"",
        default: Some("100"),
        absent: "",
        example: "\"1KiB\"",
        what: "Bytes per second that a request's body must come with on average, counted while we wait for the client and after ten \
               seconds of that; 408 below. Not for gRPC calls.",
        why: "The worst phone sends more; a client that sends less holds its place, and one at the service, on purpose.",
    },
    Key {
        name: "min_response_rate",
        kind: "size per second, 1 to 1MiB, or \"none\"",
        default: Some("\"1KiB\""),
        absent: "",
        example: "100",
        what: "Bytes per second that an answer must be taken with on average, counted while we wait for the client and after ten \
               seconds of that; the connection, or the HTTP/2 stream, is ended below. Streams of one connection share the rate. Not \
               for gRPC calls, event streams and WebSockets.",
        why: "The slowest phone line takes five times as much; who takes less holds our buffers, and a connection of the service.",
    },
    Key {
        name: "streams",
        kind: "integer, 1 to 10000",
        default: Some("128"),
        absent: "",
        example: "256",
        what: "HTTP/2 streams at once on one connection; a client that opens more has them refused (REFUSED_STREAM).",
        why: "RFC 9113 5.1.2 wants at least 100; each can hold a window of 256 KiB.",
    },
    Key {
        name: "head_timeout",
        kind: "duration",
        default: Some("\"10s\""),
        absent: "",
        example: "\"5s\"",
        what: "From the first byte of a request's head to its last; the connection is closed beyond.",
        why: "A head fits into a few packets; who needs longer holds the place on purpose.",
    },
    Key {
        name: "keep_alive",
        kind: "duration",
        default: Some("\"75s\""),
        absent: "",
        example: "\"30s\"",
        what: "Without a request on a kept-alive connection; then it is closed.",
        why: "Longer than the 60 s of common load balancers, so that they close first.",
    },
    Key {
        name: "drain_timeout",
        kind: "duration",
        default: Some("\"30s\""),
        absent: "",
        example: "\"20s\"",
        what: "After SIGTERM, for the requests in flight.",
        why: "What Kubernetes grants by default between SIGTERM and SIGKILL.",
    },
];

/// Keys that are the process's: a listener cannot have its own.
const OF_THE_PROCESS: [&str; 2] = ["connections", "drain_timeout"];

/// What `[limits]` says over the defaults.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> LimitsConfig {
    let base = defaults::LIMITS;
    let Some(section) = root.section(reading, "limits", &names(KEYS)) else { return base };
    let connections = section
        .value(reading, "connections", |v| values::number(v, *CONNECTIONS.start(), *CONNECTIONS.end()));
    let drain_timeout = section.value(reading, "drain_timeout", values::duration);
    LimitsConfig {
        connections: connections.map_or(base.connections, |said| said.value),
        drain_timeout: drain_timeout.map_or(base.drain_timeout, |said| said.value),
        clients: clients(reading, &section, base.clients),
    }
}

/// What `listener` says over the general limits.
pub(super) fn read_own(
    reading: &mut Reading<'_>,
    listener: &Section<'_, '_>,
    general: ClientLimits,
) -> ClientLimits {
    let keys = names(KEYS).into_iter().filter(|key| !OF_THE_PROCESS.contains(key)).collect::<Vec<_>>();
    listener.section(reading, "limits", &keys).map_or(general, |section| clients(reading, &section, general))
}

fn clients(reading: &mut Reading<'_>, section: &Section<'_, '_>, base: ClientLimits) -> ClientLimits {
    let mut size = |key, bounds: RangeInclusive<usize>| {
        section.value(reading, key, |v| values::size(v, *bounds.start(), *bounds.end()))
    };
    let header_bytes = size("header_bytes", HEADER_BYTES).map_or(base.header_bytes, |said| said.value);
    let target = size("target_bytes", TARGET_BYTES);
    let target_bytes = target.as_ref().map_or(base.target_bytes, |said| said.value);
    if target_bytes > header_bytes {
        let at = target.map(|said| said.at).or_else(|| section.place_of("header_bytes"));
        let path = section.path_of("target_bytes");
        reading.mistake(
            &at.unwrap_or_else(|| section.at.clone()),
            format!("`{path}` ({target_bytes}) is more than `header_bytes` ({header_bytes})"),
            "the target is a part of the head: give it at most `header_bytes`",
        );
    }
    let mut number = |key, bounds: RangeInclusive<usize>, default| {
        let said = section.value(reading, key, |v| values::number(v, *bounds.start(), *bounds.end()));
        said.map_or(default, |said| said.value)
    };
    let header_count = number("header_count", HEADER_COUNT, base.header_count);
    let streams = number("streams", STREAMS, usize::try_from(base.streams).unwrap_or(usize::MAX));
    let resets = number("resets", RESETS, base.resets);
    let mut bounded = |key, bounds: RangeInclusive<usize>, default: Option<u64>| {
        let said = section
            .value(reading, key, |v| values::or_none(v, |v| values::size(v, *bounds.start(), *bounds.end())));
        said.map_or(default, |said| said.value.and_then(|value| u64::try_from(value).ok()))
    };
    let body_bytes = bounded("body_bytes", BODY_BYTES, base.body_bytes);
    let min_body_rate = bounded("min_body_rate", RATE, base.min_body_rate);
    let min_response_rate = bounded("min_response_rate", RATE, base.min_response_rate);
    let counted = |reading: &mut Reading<'_>, key, bounds: RangeInclusive<usize>| {
        section.value(reading, key, |v| {
            values::or_none(v, |v| values::number(v, *bounds.start(), *bounds.end()))
        })
    };
    let per_address = counted(reading, "connections_per_address", CONNECTIONS);
    let requests = counted(reading, "connection_requests", CONNECTION_REQUESTS);
    let age = section.value(reading, "connection_age", values::duration_or_none);
    let mut duration = |key, default: Duration| {
        section.value(reading, key, values::duration).map_or(default, |said| said.value)
    };
    ClientLimits {
        header_bytes,
        header_count,
        target_bytes,
        connections_per_address: per_address.map_or(base.connections_per_address, |said| said.value),
        connection_requests: requests
            .map_or(base.connection_requests, |said| said.value.and_then(|value| u64::try_from(value).ok())),
        connection_age: age.map_or(base.connection_age, |said| said.value),
        streams: u32::try_from(streams).unwrap_or(base.streams),
        resets,
        body_bytes,
        min_body_rate,
        min_response_rate,
        head_timeout: duration("head_timeout", base.head_timeout),
        keep_alive: duration("keep_alive", base.keep_alive),
    }
}
