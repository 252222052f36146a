//! What any server must be able to do: h2spec's "generic".

use crate::h2::frame::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITIZED, SETTINGS_INITIAL_WINDOW_SIZE, WHOLE,
};
use crate::h2::table::Block::{BytesAndGet, Get, GetAnd, GetAndBytes, Method, Only};
use crate::h2::table::Step::{Frame, Settings, Want};
use crate::h2::table::Want as W;
use crate::h2::table::{
    Case, PONG, Step, answered, cancel, case, continuation, data, headers, ping, priority, window_update,
};

/// Nothing of a body may be sent, so that the stream stays open.
const NO_WINDOW: Step = Settings(&[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]);
const DUMMY: &[(&str, &str)] = &[("x-dummy", "dummy")];

pub(super) const CASES: &[Case] = &[
    case("generic/1/1", "RFC 9113 3.4", "the preface is answered with SETTINGS", &[ping(), PONG]),
    case(
        "generic/2/1",
        "RFC 9113 5.1",
        "PRIORITY on an idle stream",
        &[priority(1, &[0, 0, 0, 0, 255]), ping(), PONG],
    ),
    case(
        "generic/2/2",
        "RFC 9113 5.1",
        "WINDOW_UPDATE on a half-closed (remote) stream",
        &[NO_WINDOW, headers(1, WHOLE, Get), window_update(1, &[0, 0, 0, 1]), Want(W::Data(None))],
    ),
    case(
        "generic/2/3",
        "RFC 9113 5.1",
        "PRIORITY on a half-closed (remote) stream",
        &[
            NO_WINDOW,
            headers(1, WHOLE, Get),
            priority(1, &[0, 0, 0, 0, 255]),
            window_update(1, &[0, 0, 0, 1]),
            Want(W::Data(None)),
        ],
    ),
    case(
        "generic/2/4",
        "RFC 9113 5.1",
        "RST_STREAM on a half-closed (remote) stream",
        &[headers(1, WHOLE, Get), cancel(1), ping(), Want(W::PingAckOrClose(b"whatsup?"))],
    ),
    case(
        "generic/2/5",
        "RFC 9113 5.1",
        "PRIORITY on a closed stream",
        &[headers(1, WHOLE, Get), Want(W::EndOf(1)), priority(1, &[0, 0, 0, 0, 255]), ping(), PONG],
    ),
    case(
        "generic/3.1/1",
        "RFC 9113 6.1",
        "DATA",
        &[headers(1, END_HEADERS, Method("POST")), data(1, END_STREAM), answered(1)],
    ),
    case(
        "generic/3.1/2",
        "RFC 9113 6.1",
        "several DATA",
        &[headers(1, END_HEADERS, Method("POST")), data(1, 0), data(1, END_STREAM), answered(1)],
    ),
    case(
        "generic/3.1/3",
        "RFC 9113 6.1",
        "padded DATA",
        &[
            headers(1, END_HEADERS, Method("POST")),
            Frame { kind: 0, flags: END_STREAM | PADDED, stream: 1, payload: b"\x06test\0\0\0\0\0\0" },
            answered(1),
        ],
    ),
    case("generic/3.2/1", "RFC 9113 6.2", "HEADERS", &[headers(1, WHOLE, Get), answered(1)]),
    case(
        "generic/3.2/2",
        "RFC 9113 6.2",
        "padded HEADERS",
        &[
            Step::Block {
                kind: HEADERS,
                flags: WHOLE | PADDED,
                stream: 1,
                before: &[6],
                block: Get,
                after: &[0; 6],
            },
            answered(1),
        ],
    ),
    case(
        "generic/3.2/3",
        "RFC 9113 6.2",
        "HEADERS with priority",
        &[
            Step::Block {
                kind: HEADERS,
                flags: WHOLE | PRIORITIZED,
                stream: 1,
                before: &[0, 0, 0, 0, 255],
                block: Get,
                after: &[],
            },
            answered(1),
        ],
    ),
    case(
        "generic/3.3/1",
        "RFC 9113 6.3",
        "PRIORITY with weight 1",
        &[priority(1, &[0, 0, 0, 0, 0]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.3/2",
        "RFC 9113 6.3",
        "PRIORITY with weight 256",
        &[priority(1, &[0, 0, 0, 0, 255]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.3/3",
        "RFC 9113 6.3",
        "PRIORITY with a dependency",
        &[priority(3, &[0, 0, 0, 1, 0]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.3/4",
        "RFC 9113 6.3",
        "exclusive PRIORITY",
        &[priority(1, &[0x80, 0, 0, 0, 0]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.3/5",
        "RFC 9113 6.3",
        "PRIORITY for an idle stream opens no stream",
        &[priority(3, &[0, 0, 0, 0, 255]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.4/1",
        "RFC 9113 6.4",
        "RST_STREAM",
        &[headers(1, END_HEADERS, Method("POST")), cancel(1), ping(), PONG],
    ),
    case("generic/3.5/1", "RFC 9113 6.5", "SETTINGS", &[Settings(&[(3, 100)]), Want(W::SettingsAck)]),
    case("generic/3.7/1", "RFC 9113 6.7", "PING", &[ping(), PONG]),
    case(
        "generic/3.8/1",
        "RFC 9113 6.8",
        "GOAWAY",
        &[
            Frame { kind: GOAWAY, flags: 0, stream: 0, payload: &[0; 8] },
            ping(),
            Want(W::PingAckOrClose(b"whatsup?")),
        ],
    ),
    case(
        "generic/3.9/1",
        "RFC 9113 6.9",
        "WINDOW_UPDATE of the connection",
        &[window_update(0, &[0, 0, 0, 1]), headers(1, WHOLE, Get), answered(1)],
    ),
    case(
        "generic/3.9/2",
        "RFC 9113 6.9",
        "WINDOW_UPDATE of a stream",
        &[
            NO_WINDOW,
            headers(1, WHOLE, Get),
            answered(1),
            window_update(1, &[0, 0, 0, 1]),
            Want(W::Data(Some(1))),
        ],
    ),
    case(
        "generic/3.10/1",
        "RFC 9113 6.10",
        "CONTINUATION",
        &[headers(1, END_STREAM, Get), continuation(1, END_HEADERS, Only(DUMMY)), answered(1)],
    ),
    case(
        "generic/3.10/2",
        "RFC 9113 6.10",
        "several CONTINUATION",
        &[
            headers(1, END_STREAM, Get),
            continuation(1, 0, Only(DUMMY)),
            continuation(1, 0, Only(DUMMY)),
            continuation(1, END_HEADERS, Only(DUMMY)),
            answered(1),
        ],
    ),
    case("generic/4/1", "RFC 9113 8.1", "GET", &[headers(1, WHOLE, Get), answered(1)]),
    case("generic/4/2", "RFC 9113 8.1", "HEAD", &[headers(1, WHOLE, Method("HEAD")), answered(1)]),
    case(
        "generic/4/3",
        "RFC 9113 8.1",
        "POST",
        &[headers(1, END_HEADERS, Method("POST")), data(1, END_STREAM), answered(1)],
    ),
    case(
        "generic/4/4",
        "RFC 9113 8.1",
        "POST with trailers",
        &[
            headers(1, END_HEADERS, crate::h2::table::Block::PostAnd(&[("trailer", "x-test")])),
            data(1, 0),
            headers(1, WHOLE, Only(&[("x-test", "ok")])),
            answered(1),
        ],
    ),
    case(
        "generic/5/1",
        "RFC 7541 6.1",
        "an indexed field",
        &[headers(1, WHOLE, GetAndBytes(&[0xba])), answered(1)],
    ),
    case(
        "generic/5/2",
        "RFC 7541 6.2.1",
        "incremental indexing, indexed name",
        &[headers(1, WHOLE, GetAndBytes(b"\x7a\x04test")), answered(1)],
    ),
    case(
        "generic/5/3",
        "RFC 7541 6.2.1",
        "incremental indexing, indexed name, Huffman",
        &[headers(1, WHOLE, GetAndBytes(b"\x7a\x86\xa8\xeb\x10\x64\x9c\xbf")), answered(1)],
    ),
    case(
        "generic/5/4",
        "RFC 7541 6.2.1",
        "incremental indexing, new name",
        &[headers(1, WHOLE, GetAndBytes(b"\x40\x06x-test\x04test")), answered(1)],
    ),
    case(
        "generic/5/5",
        "RFC 7541 6.2.1",
        "incremental indexing, new name, Huffman",
        &[
            headers(
                1,
                WHOLE,
                GetAndBytes(
                    b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
                ),
            ),
            answered(1),
        ],
    ),
    case(
        "generic/5/6",
        "RFC 7541 6.2.2",
        "without indexing, indexed name",
        &[headers(1, WHOLE, GetAndBytes(b"\x0f\x2b\x04test")), answered(1)],
    ),
    case(
        "generic/5/7",
        "RFC 7541 6.2.2",
        "without indexing, indexed name, Huffman",
        &[headers(1, WHOLE, GetAndBytes(b"\x0f\x2b\x86\xa8\xeb\x10\x64\x9c\xbf")), answered(1)],
    ),
    case(
        "generic/5/8",
        "RFC 7541 6.2.2",
        "without indexing, new name",
        &[headers(1, WHOLE, GetAnd(&[("x-test", "test")])), answered(1)],
    ),
    case(
        "generic/5/9",
        "RFC 7541 6.2.2",
        "without indexing, new name, Huffman",
        &[
            headers(
                1,
                WHOLE,
                GetAndBytes(
                    b"\x00\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
                ),
            ),
            answered(1),
        ],
    ),
    case(
        "generic/5/10",
        "RFC 7541 6.2.3",
        "never indexed, indexed name",
        &[headers(1, WHOLE, GetAndBytes(b"\x1f\x2b\x04test")), answered(1)],
    ),
    case(
        "generic/5/11",
        "RFC 7541 6.2.3",
        "never indexed, indexed name, Huffman",
        &[headers(1, WHOLE, GetAndBytes(b"\x1f\x2b\x86\xa8\xeb\x10\x64\x9c\xbf")), answered(1)],
    ),
    case(
        "generic/5/12",
        "RFC 7541 6.2.3",
        "never indexed, new name",
        &[headers(1, WHOLE, GetAndBytes(b"\x10\x06x-test\x04test")), answered(1)],
    ),
    case(
        "generic/5/13",
        "RFC 7541 6.2.3",
        "never indexed, new name, Huffman",
        &[
            headers(
                1,
                WHOLE,
                GetAndBytes(
                    b"\x10\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
                ),
            ),
            answered(1),
        ],
    ),
    case(
        "generic/5/14",
        "RFC 7541 6.3",
        "a table size update",
        &[headers(1, WHOLE, BytesAndGet(&[0x20])), answered(1)],
    ),
    case(
        "generic/5/15",
        "RFC 7541 6.3",
        "several table size updates",
        &[headers(1, WHOLE, BytesAndGet(&[0x20, 0x3f, 0xe1, 0x1f])), answered(1)],
    ),
    // Not h2spec's: the same connection after an answer.
    case(
        "more/ping-on-ping",
        "RFC 9113 6.7",
        "each PING is answered with its own bytes",
        &[
            ping(),
            PONG,
            Frame { kind: PING, flags: 0, stream: 0, payload: b"again..." },
            Want(W::PingAck(b"again...")),
        ],
    ),
    case(
        "more/second-request",
        "RFC 9113 5.1.1",
        "a second request on the same connection",
        &[headers(1, WHOLE, Get), Want(W::EndOf(1)), headers(3, WHOLE, Get), Want(W::EndOf(3))],
    ),
];
