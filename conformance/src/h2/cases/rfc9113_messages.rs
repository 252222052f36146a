//! Requests in frames: h2spec's "http2/8".

use crate::h2::frame::{END_HEADERS, END_STREAM, PROTOCOL_ERROR, PUSH_PROMISE, WHOLE};
use crate::h2::table::Block::{GetAnd, Method, Only, PostAnd};
use crate::h2::table::{Case, Step, bad_stream, case, data, fatal, headers};

const BAD: Step = bad_stream(&[PROTOCOL_ERROR]);
const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "{s}");
const P: (&str, &str) = (":path", "{t}");
const A: (&str, &str) = (":authority", crate::tls::NAME);

pub(super) const CASES: &[Case] = &[
    case(
        "http2/8.1/1",
        "RFC 9113 8.1",
        "a second HEADERS that does not end the stream",
        &[
            headers(1, END_HEADERS, Method("POST")),
            data(1, 0),
            headers(1, END_HEADERS, Only(&[("x-test", "ok")])),
            BAD,
        ],
    ),
    case(
        "http2/8.1.2/1",
        "RFC 9113 8.2.1",
        "a field name in upper case",
        &[headers(1, WHOLE, GetAnd(&[("X-TEST", "ok")])), BAD],
    ),
    case(
        "http2/8.1.2.1/1",
        "RFC 9113 8.3",
        "an unknown pseudo-header",
        &[headers(1, WHOLE, GetAnd(&[(":test", "ok")])), BAD],
    ),
    case(
        "http2/8.1.2.1/2",
        "RFC 9113 8.3",
        "a pseudo-header of answers",
        &[headers(1, WHOLE, GetAnd(&[(":status", "200")])), BAD],
    ),
    case(
        "http2/8.1.2.1/3",
        "RFC 9113 8.3",
        "a pseudo-header in trailers",
        &[
            headers(1, END_HEADERS, Method("POST")),
            data(1, 0),
            headers(1, END_HEADERS, Only(&[(":method", "POST")])),
            BAD,
        ],
    ),
    case(
        "http2/8.1.2.1/4",
        "RFC 9113 8.3",
        "a pseudo-header after a field",
        &[headers(1, WHOLE, Only(&[M, S, P, ("x-test", "ok"), A])), BAD],
    ),
    case(
        "http2/8.1.2.2/1",
        "RFC 9113 8.2.2",
        "a connection-specific field",
        &[headers(1, WHOLE, GetAnd(&[("connection", "keep-alive")])), BAD],
    ),
    case(
        "http2/8.1.2.2/2",
        "RFC 9113 8.2.2",
        "TE with anything but trailers",
        &[headers(1, WHOLE, GetAnd(&[("te", "trailers, deflate")])), BAD],
    ),
    case(
        "http2/8.1.2.3/1",
        "RFC 9113 8.3.1",
        "an empty :path",
        &[headers(1, WHOLE, Only(&[M, S, (":path", ""), A])), BAD],
    ),
    case("http2/8.1.2.3/2", "RFC 9113 8.3.1", "no :method", &[headers(1, WHOLE, Only(&[S, P, A])), BAD]),
    case("http2/8.1.2.3/3", "RFC 9113 8.3.1", "no :scheme", &[headers(1, WHOLE, Only(&[M, P, A])), BAD]),
    case("http2/8.1.2.3/4", "RFC 9113 8.3.1", "no :path", &[headers(1, WHOLE, Only(&[M, S, A])), BAD]),
    case(
        "http2/8.1.2.3/5",
        "RFC 9113 8.3.1",
        ":method twice",
        &[headers(1, WHOLE, Only(&[M, M, S, P, A])), BAD],
    ),
    case(
        "http2/8.1.2.3/6",
        "RFC 9113 8.3.1",
        ":scheme twice",
        &[headers(1, WHOLE, Only(&[M, S, S, P, A])), BAD],
    ),
    case(
        "http2/8.1.2.3/7",
        "RFC 9113 8.3.1",
        ":path twice",
        &[headers(1, WHOLE, Only(&[M, S, P, P, A])), BAD],
    ),
    case(
        "http2/8.1.2.6/1",
        "RFC 9113 8.1.1",
        "a length that is not the DATA's",
        &[headers(1, END_HEADERS, PostAnd(&[("content-length", "1")])), data(1, END_STREAM), BAD],
    ),
    case(
        "http2/8.1.2.6/2",
        "RFC 9113 8.1.1",
        "a length that is not the sum of the DATA's",
        &[headers(1, END_HEADERS, PostAnd(&[("content-length", "1")])), data(1, 0), data(1, END_STREAM), BAD],
    ),
    case(
        "http2/8.2/1",
        "RFC 9113 8.4",
        "PUSH_PROMISE of a client",
        &[
            Step::Block {
                kind: PUSH_PROMISE,
                flags: END_HEADERS,
                stream: 1,
                before: &[0, 0, 0, 3],
                block: crate::h2::table::Block::Get,
                after: &[],
            },
            fatal(&[PROTOCOL_ERROR]),
        ],
    ),
];
