//! Too much of anything: RFC 9110 15.5, RFC 6585, and the hardening list.

use crate::case::Level::{Must, Ours, Should};
use crate::h1::table::Check::{Closed, Nothing, Requests, Status};
use crate::h1::table::Step::{Fill, Repeat, Send};
use crate::h1::table::{Case, SERVED, case};

const SECTION: &str = "hardening: too many or too large";

pub(super) const CASES: &[Case] = &[
    case(
        "limit/target-ordinary",
        "RFC 9112 3",
        Should,
        "a request line of 8000 bytes is served",
        &[Send(b"GET /{t}?"), Fill(b'q', 7900), Send(b" HTTP/1.1\r\nHost: a\r\n\r\n")],
        SERVED,
    ),
    case(
        "limit/target",
        "RFC 9110 15.5.15",
        Should,
        "a target of 60 kB is 414",
        &[Send(b"GET /{t}?"), Fill(b'q', 60_000), Send(b" HTTP/1.1\r\nHost: a\r\n\r\n")],
        &[Status(&[414, 400, 431]), Nothing],
    ),
    case(
        "limit/target-huge",
        SECTION,
        Ours,
        "a target of 1 MB is refused, never 500",
        &[Send(b"GET /{t}?"), Fill(b'q', 1_000_000), Send(b" HTTP/1.1\r\nHost: a\r\n\r\n")],
        &[Status(&[414, 400, 431]), Nothing, Closed],
    ),
    case(
        "limit/fields-ordinary",
        SECTION,
        Ours,
        "60 fields are served",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n"), Repeat(b"X-A: b\r\n", 59), Send(b"\r\n")],
        SERVED,
    ),
    case(
        "limit/fields-many",
        "RFC 6585 5",
        Should,
        "5000 fields are refused",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n"), Repeat(b"X-A: b\r\n", 5000), Send(b"\r\n")],
        &[Status(&[431, 400]), Nothing],
    ),
    case(
        "limit/field-large",
        "RFC 6585 5",
        Should,
        "one field of 300 kB is refused",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nX-A: "), Fill(b'b', 300_000), Send(b"\r\n\r\n")],
        &[Status(&[431, 400]), Nothing],
    ),
    case(
        "limit/field-large-ordinary",
        SECTION,
        Ours,
        "a cookie of 6 kB is served",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nCookie: "), Fill(b'b', 6000), Send(b"\r\n\r\n")],
        SERVED,
    ),
    case(
        "limit/field-name-large",
        "RFC 6585 5",
        Should,
        "a name of 300 kB is refused",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n"), Fill(b'b', 300_000), Send(b": x\r\n\r\n")],
        &[Status(&[431, 400]), Nothing],
    ),
    case(
        "limit/head-without-end",
        SECTION,
        Ours,
        "2 MB of fields without an end are cut",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n"), Repeat(b"X-A: bbbbbbbbbbbbbbbbbbbbbbbb\r\n", 66_000)],
        &[Status(&[431, 400]), Closed, Nothing],
    ),
    case(
        "limit/empty-lines",
        SECTION,
        Ours,
        "empty lines before a request have an end",
        &[Repeat(b"\r\n", 500_000), Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")],
        &[Closed],
    ),
    case(
        "limit/connection-options",
        SECTION,
        Ours,
        "a Connection field with thousands of names stays cheap",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: "), Repeat(b"x,", 3000), Send(b"x\r\n\r\n")],
        &[Status(&[200, 400, 431])],
    ),
    case(
        "limit/via-long",
        SECTION,
        Ours,
        "a long Via stays cheap",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nVia: "), Repeat(b"1.1 a, ", 800), Send(b"1.1 b\r\n\r\n")],
        &[Status(&[200, 400, 431])],
    ),
    case(
        "limit/never-500",
        SECTION,
        Ours,
        "nothing of this kind is an error of ours",
        &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n"), Repeat(b"X-A: b\r\n", 20_000), Send(b"\r\n")],
        &[Status(&[431, 400, 413]), Nothing],
    ),
    case(
        "limit/many-chunks",
        "RFC 9112 7.1",
        Must,
        "a body of 5000 small chunks arrives",
        &[
            Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Repeat(b"1\r\nx\r\n", 5000),
            Send(b"0\r\n\r\n"),
        ],
        &[Status(&[200]), Requests(1)],
    ),
];
