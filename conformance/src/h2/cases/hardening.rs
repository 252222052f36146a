//! Rows of the hardening list that one exchange shows, and what RFC 9113 has beyond h2spec's list.

use crate::h2::frame::{END_HEADERS, END_STREAM, PROTOCOL_ERROR, WHOLE};
use crate::h2::table::Block::{Get, GetAnd, Only, PostAnd};
use crate::h2::table::Step::{RefusedEarly, Want};
use crate::h2::table::Want as W;
use crate::h2::table::{Case, PONG, Step, answered, bad_stream, case, data, headers, ours, ping};

const ROW: &str = "hardening: HTTP/2 fields";
const BAD: Step = bad_stream(&[PROTOCOL_ERROR]);
/// Refused, as an error of the stream or by a status.
const NO: Step = Want(W::Refusal(&[400, 404, 405, 421, 431, 501]));
const M: (&str, &str) = (":method", "GET");
const S: (&str, &str) = (":scheme", "{s}");
const P: (&str, &str) = (":path", "{t}");
const A: (&str, &str) = (":authority", crate::tls::NAME);

pub(super) const CASES: &[Case] = &[
    case(
        "fields/transfer-encoding",
        "RFC 9113 8.2.2",
        "transfer-encoding",
        &[headers(1, END_HEADERS, PostAnd(&[("transfer-encoding", "chunked")])), data(1, END_STREAM), NO],
    ),
    case(
        "fields/keep-alive",
        "RFC 9113 8.2.2",
        "keep-alive",
        &[headers(1, WHOLE, GetAnd(&[("keep-alive", "timeout=5")])), NO],
    ),
    case(
        "fields/proxy-connection",
        "RFC 9113 8.2.2",
        "proxy-connection",
        &[headers(1, WHOLE, GetAnd(&[("proxy-connection", "keep-alive")])), NO],
    ),
    case(
        "fields/upgrade",
        "RFC 9113 8.2.2",
        "upgrade",
        &[headers(1, WHOLE, GetAnd(&[("upgrade", "websocket")])), NO],
    ),
    case(
        "fields/te-trailers",
        "RFC 9113 8.2.2",
        "TE with trailers is allowed",
        &[headers(1, WHOLE, GetAnd(&[("te", "trailers")])), answered(1)],
    ),
    case(
        "fields/crlf-in-value",
        "RFC 9113 8.2.1",
        "CRLF in a value",
        &[headers(1, WHOLE, GetAnd(&[("x-test", "a\r\nx-smuggled: b")])), NO],
    ),
    case(
        "fields/lf-in-value",
        "RFC 9113 8.2.1",
        "LF in a value",
        &[headers(1, WHOLE, GetAnd(&[("x-test", "a\nb")])), NO],
    ),
    case(
        "fields/nul-in-value",
        "RFC 9113 8.2.1",
        "NUL in a value",
        &[headers(1, WHOLE, GetAnd(&[("x-test", "a\0b")])), NO],
    ),
    case(
        "fields/space-around-value",
        "RFC 9113 8.2.1",
        "white space around a value",
        &[headers(1, WHOLE, GetAnd(&[("x-test", " a ")])), Want(W::Refusal(&[200, 400, 431]))],
    ),
    case(
        "fields/colon-in-name",
        "RFC 9113 8.2.1",
        "a colon in a name",
        &[headers(1, WHOLE, GetAnd(&[("x:test", "a")])), NO],
    ),
    case(
        "fields/space-in-name",
        "RFC 9113 8.2.1",
        "a space in a name",
        &[headers(1, WHOLE, GetAnd(&[("x test", "a")])), NO],
    ),
    case(
        "fields/crlf-in-name",
        "RFC 9113 8.2.1",
        "CRLF in a name",
        &[headers(1, WHOLE, GetAnd(&[("x\r\ntest", "a")])), NO],
    ),
    ours("fields/empty-name", ROW, "an empty name", &[headers(1, WHOLE, GetAnd(&[("", "a")])), NO]),
    case(
        "pseudo/crlf-in-path",
        "RFC 9113 8.2.1",
        "CRLF in :path",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "/a\r\nx: b"), A])), NO],
    ),
    ours(
        "pseudo/space-in-path",
        ROW,
        "a space in :path would break a request line",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "/a b HTTP/1.1"), A])), NO],
    ),
    ours(
        "pseudo/path-relative",
        ROW,
        ":path without a slash",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "a"), A])), NO],
    ),
    ours(
        "pseudo/path-dots",
        "hardening: dot segments",
        "dot segments in :path",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "/a/../b"), A])), NO],
    ),
    ours(
        "pseudo/path-nul",
        "hardening: dot segments",
        "%00 in :path",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "/a%00"), A])), NO],
    ),
    ours(
        "pseudo/path-fragment",
        "hardening: dot segments",
        "a fragment in :path is refused, or cut off",
        &[headers(1, WHOLE, Only(&[M, S, (":path", "/a#b"), A])), Want(W::Refusal(&[200, 400, 404]))],
    ),
    case(
        "pseudo/in-ending-trailers",
        "RFC 9113 8.1",
        "a pseudo-header in trailers that end the stream",
        &[
            headers(1, END_HEADERS, PostAnd(&[])),
            data(1, 0),
            headers(1, WHOLE, Only(&[(":method", "POST")])),
            BAD,
        ],
    ),
    ours(
        "closed/data-behind-our-reset",
        "RFC 9113 5.1",
        "DATA of a body that was on its way when the request was refused",
        &[
            RefusedEarly(1),
            Want(W::EndOf(1)),
            data(1, 0),
            data(1, END_STREAM),
            ping(),
            PONG,
            headers(3, WHOLE, Get),
            answered(3),
        ],
    ),
    ours(
        "closed/data-behind-many-resets",
        "RFC 9113 5.1",
        "the same when the stream is forgotten",
        &[
            RefusedEarly(99),
            Want(W::EndOf(197)),
            data(1, 0),
            data(197, 0),
            data(1, END_STREAM),
            ping(),
            PONG,
            headers(199, WHOLE, Get),
            answered(199),
        ],
    ),
    ours(
        "pseudo/method-space",
        ROW,
        "a space in :method would break a request line",
        &[headers(1, WHOLE, Only(&[(":method", "GET /x HTTP/1.1"), S, P, A])), NO],
    ),
    ours(
        "pseudo/method-empty",
        ROW,
        "an empty :method",
        &[headers(1, WHOLE, Only(&[(":method", ""), S, P, A])), NO],
    ),
    ours(
        "pseudo/scheme-other",
        ROW,
        "a scheme that is not HTTP's",
        &[headers(1, WHOLE, Only(&[M, (":scheme", "ftp"), P, A])), NO],
    ),
    ours(
        "pseudo/scheme-junk",
        ROW,
        "junk in :scheme",
        &[headers(1, WHOLE, Only(&[M, (":scheme", "http\r\nx"), P, A])), NO],
    ),
    case(
        "pseudo/authority-and-host-differ",
        "RFC 9113 8.3.1",
        ":authority against Host: the one rules or both are refused",
        &[
            headers(1, WHOLE, Only(&[M, S, P, A, ("host", "evil.example")])),
            Want(W::Refusal(&[200, 400, 421])),
        ],
    ),
    ours(
        "pseudo/authority-and-host-refused",
        "hardening: two Hosts",
        ":authority against Host is refused",
        &[headers(1, WHOLE, Only(&[M, S, P, A, ("host", "evil.example")])), NO],
    ),
    case(
        "pseudo/host-for-authority",
        "RFC 9113 8.3.1",
        "Host in the place of :authority",
        &[headers(1, WHOLE, Only(&[M, S, P, ("host", "conformance.test")])), answered(1)],
    ),
    ours(
        "pseudo/two-hosts",
        "hardening: two Hosts",
        "two Hosts",
        &[headers(1, WHOLE, Only(&[M, S, P, A, ("host", "a"), ("host", "b")])), NO],
    ),
    ours(
        "pseudo/no-host-at-all",
        "hardening: two Hosts",
        "neither :authority nor Host",
        &[headers(1, WHOLE, Only(&[M, S, P])), NO],
    ),
    ours(
        "pseudo/authority-userinfo",
        "RFC 9113 8.3.1",
        "userinfo in :authority",
        &[headers(1, WHOLE, Only(&[M, S, P, (":authority", "u@conformance.test")])), NO],
    ),
    ours(
        "pseudo/authority-junk",
        ROW,
        "a space in :authority",
        &[headers(1, WHOLE, Only(&[M, S, P, (":authority", "a b")])), NO],
    ),
    case(
        "pseudo/authority-twice",
        "RFC 9113 8.3.1",
        ":authority twice",
        &[headers(1, WHOLE, Only(&[M, S, P, A, A])), BAD],
    ),
    ours(
        "connect/plain",
        "hardening: CONNECT",
        "CONNECT opens no tunnel",
        &[headers(1, END_HEADERS, Only(&[(":method", "CONNECT"), (":authority", "127.0.0.1:80")])), NO],
    ),
    case(
        "connect/with-path",
        "RFC 9113 8.5",
        "CONNECT with :scheme and :path",
        &[headers(1, END_HEADERS, Only(&[(":method", "CONNECT"), S, P, A])), NO],
    ),
    ours(
        "connect/extended-unasked",
        "RFC 8441 4",
        "an extended CONNECT of an unknown protocol",
        &[headers(1, END_HEADERS, Only(&[(":method", "CONNECT"), (":protocol", "nonsense"), S, P, A])), NO],
    ),
    case(
        "length/junk",
        "RFC 9113 8.1.1",
        "a length that is no number",
        &[headers(1, END_HEADERS, PostAnd(&[("content-length", "+4")])), data(1, END_STREAM), NO],
    ),
    case(
        "length/two",
        "RFC 9110 8.6",
        "two lengths that differ",
        &[
            headers(1, END_HEADERS, PostAnd(&[("content-length", "4"), ("content-length", "5")])),
            data(1, END_STREAM),
            NO,
        ],
    ),
    case(
        "length/without-body",
        "RFC 9113 8.1.1",
        "a length where no DATA comes",
        &[headers(1, WHOLE, PostAnd(&[("content-length", "4")])), NO],
    ),
    case(
        "length/too-little",
        "RFC 9113 8.1.1",
        "less DATA than the length",
        &[headers(1, END_HEADERS, PostAnd(&[("content-length", "9")])), data(1, END_STREAM), NO],
    ),
    case(
        "length/right",
        "RFC 9113 8.1.1",
        "exactly the length",
        &[headers(1, END_HEADERS, PostAnd(&[("content-length", "4")])), data(1, END_STREAM), answered(1)],
    ),
    ours(
        "cookie/crumbs",
        "RFC 9113 8.2.3",
        "cookies in crumbs",
        &[headers(1, WHOLE, GetAnd(&[("cookie", "a=1"), ("cookie", "b=2")])), answered(1)],
    ),
];
