//! WebSockets over HTTP/2 (RFC 8441). The service answers each handshake like any request: with 200.

use crate::h2::frame::{END_HEADERS, SETTINGS_ENABLE_CONNECT_PROTOCOL};
use crate::h2::table::Block::{Get, Only};
use crate::h2::table::Step::{Says, Want};
use crate::h2::table::Want as W;
use crate::h2::table::{Case, Step, answered, case, headers, ours};

/// Refused, as an error of the stream or by a status that is no yes.
const NO: Step = Want(W::Refusal(&[400, 403, 404, 405, 421, 426, 501, 502]));
const C: (&str, &str) = (":method", "CONNECT");
const W8441: (&str, &str) = (":protocol", "websocket");
const S: (&str, &str) = (":scheme", "{s}");
const P: (&str, &str) = (":path", "{t}");
const A: (&str, &str) = (":authority", crate::tls::NAME);
const V13: (&str, &str) = ("sec-websocket-version", "13");

pub(super) const CASES: &[Case] = &[
    ours(
        "ws/offered",
        "RFC 8441 3",
        "SETTINGS says that extended CONNECT is spoken",
        &[Says(SETTINGS_ENABLE_CONNECT_PROTOCOL, 1)],
    ),
    case(
        "ws/declined-with-200",
        "RFC 8441 5",
        "200 of a service that did not switch is no yes",
        &[headers(1, END_HEADERS, Only(&[C, W8441, S, P, A, V13])), NO],
    ),
    case(
        "ws/version",
        "RFC 8441 5",
        "a version that is not spoken",
        &[headers(1, END_HEADERS, Only(&[C, W8441, S, P, A, ("sec-websocket-version", "8")])), NO],
    ),
    case(
        "ws/no-version",
        "RFC 8441 5",
        "no version",
        &[headers(1, END_HEADERS, Only(&[C, W8441, S, P, A])), NO],
    ),
    case(
        "ws/no-path",
        "RFC 8441 4",
        "an extended CONNECT has :scheme and :path",
        &[headers(1, END_HEADERS, Only(&[C, W8441, A, V13])), NO],
    ),
    ours(
        "ws/protocol-on-get",
        "RFC 8441 4",
        ":protocol on GET",
        &[headers(1, END_HEADERS, Only(&[(":method", "GET"), W8441, S, P, A, V13])), NO],
    ),
    case(
        "ws/upgrade-field",
        "RFC 9113 8.6",
        "the handshake of HTTP/1.1 has no place in HTTP/2",
        &[
            headers(
                1,
                END_HEADERS,
                Only(&[
                    (":method", "GET"),
                    S,
                    P,
                    A,
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    V13,
                ]),
            ),
            NO,
        ],
    ),
    case(
        "ws/others-go-on",
        "RFC 8441 4",
        "a refused handshake is an error of its stream alone",
        &[
            headers(1, END_HEADERS, Only(&[C, W8441, S, P, A, ("sec-websocket-version", "8")])),
            NO,
            headers(3, crate::h2::frame::WHOLE, Get),
            answered(3),
        ],
    ),
];
