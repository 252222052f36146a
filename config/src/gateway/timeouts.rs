//! `[timeouts]`, and `timeouts` of a listener and of a route: the same keys, the route's over the listener's over the general ones.

use super::{Bound, OwnTimeouts, TimeoutsConfig};
use crate::keys::{Key, names};
use crate::reader::{Reading, Section};
use crate::values;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "connect",
        kind: "duration",
        default: Some("\"2s\""),
        absent: "",
        example: "\"500ms\"",
        what: "To connect to one endpoint.",
        why: "A lost SYN is sent again after one second; after two, another endpoint is the better bet.",
    },
    Key {
        name: "first_byte",
        kind: "duration",
        default: Some("\"60s\""),
        absent: "",
        example: "\"120s\"",
        what: "From the request's head having been sent to the answer's head. Beyond it the answer is 504.",
        why: "What most routes of the original gateway wait. Slow analyses say so on their own route.",
    },
    Key {
        name: "idle",
        kind: "duration",
        default: Some("\"60s\""),
        absent: "",
        example: "\"5m\"",
        what: "Without a byte of a body in either direction.",
        why: "A body that stands still this long has lost its sender or its reader.",
    },
    Key {
        name: "stream_idle",
        kind: "duration",
        default: Some("\"1h\""),
        absent: "",
        example: "\"5m\"",
        what: "The same for what pauses by its nature: WebSockets, server-sent events (`text/event-stream`) and gRPC calls.",
        why: "Nothing to say is no fault there; keep-alive probes of TCP find peers that are gone within minutes.",
    },
    Key {
        name: "total",
        kind: "duration or \"none\"",
        default: Some("\"none\""),
        absent: "",
        example: "\"10m\"",
        what: "For the whole request.",
        why: "Downloads and event streams last as long as they move; `idle` watches over them.",
    },
];

/// What the table `timeouts` in `parent` says. `above` is what holds for what it leaves out.
pub(super) fn read(
    reading: &mut Reading<'_>,
    parent: &Section<'_, '_>,
    above: &TimeoutsConfig,
) -> OwnTimeouts {
    let Some(section) = parent.section(reading, "timeouts", &names(KEYS)) else {
        return OwnTimeouts::default();
    };
    let mut duration = |key| section.value(reading, key, values::duration);
    let (connect, first_byte) = (duration("connect"), duration("first_byte"));
    let (idle, stream_idle) = (duration("idle"), duration("stream_idle"));
    let total = section.value(reading, "total", values::duration_or_none);
    let places = [&total.as_ref().map(|t| t.at.clone()), &first_byte.as_ref().map(|f| f.at.clone())];
    let at = places.into_iter().flatten().next().cloned();
    let own = OwnTimeouts {
        connect: connect.map(|said| said.value),
        first_byte: first_byte.map(|said| said.value),
        idle: idle.map(|said| said.value),
        stream_idle: stream_idle.map(|said| said.value),
        total: total.map(|said| Bound::from(said.value)),
    };
    let whole = own.over(above);
    // Where neither of the two is said here, the mistake (if any) is told where they are said.
    if let (Some(total), Some(at)) = (whole.total, at)
        && total < whole.first_byte
    {
        reading.mistake(
            &at,
            format!(
                "`{}` ({total:?}) is shorter than `first_byte` ({:?}), which could never run out",
                section.path_of("total"),
                whole.first_byte
            ),
            "give a `total` of at least `first_byte`, or \"none\"",
        );
    }
    own
}
