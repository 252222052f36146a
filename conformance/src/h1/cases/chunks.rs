//! The chunked coding: RFC 9112 7.1.

use crate::case::Level::{Must, Ours, Should};
use crate::h1::table::Check::{Answers, Body, Closed, Either, Lacks, NotWhole, Requests, Saw, Status};
use crate::h1::table::Step::{Fill, Repeat, Send};
use crate::h1::table::{Case, case};

/// The head of a chunked request is forwarded before its body is known to be bad; what must not happen is that the service
/// takes it for whole, or that the connection lives on.
const BAD: &[crate::h1::table::Check] =
    &[NotWhole, Closed, Either(&[Status(&[400, 413, 502])], &[Answers(0)])];
const HELLO: &[crate::h1::table::Check] = &[Status(&[200]), Requests(1), Body(b"hello")];

macro_rules! chunked {
    ($body:expr) => {
        &[Send(
            concat!("POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", $body).as_bytes(),
        )]
    };
}

pub(super) const CASES: &[Case] = &[
    case("chunk/upper-case-size", "RFC 9112 7.1", Must, "a size in upper case", chunked!("A\r\nhellohello\r\n0\r\n\r\n"), &[Status(&[200]), Requests(1), Body(b"hellohello")]),
    case("chunk/leading-zeros", "RFC 9112 7.1", Must, "leading zeros of a size", chunked!("0005\r\nhello\r\n000\r\n\r\n"), &[Either(HELLO, BAD)]),
    case("chunk/extension", "RFC 9112 7.1.1", Must, "an extension that nobody knows is ignored", chunked!("5;x=y\r\nhello\r\n0\r\n\r\n"), HELLO),
    case("chunk/extension-quoted", "RFC 9112 7.1.1", Must, "a quoted extension", chunked!("5;x=\"y;z\"\r\nhello\r\n0\r\n\r\n"), HELLO),
    case("chunk/extension-lf", "RFC 9112 7.1.1", Ours, "an LF inside an extension does not end the line and hide a request", chunked!("5;x\nhello\r\n0\r\n\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n"), &[Lacks("smuggled"), Closed]),
    case("chunk/extension-cr", "RFC 9112 7.1.1", Should, "a CR inside an extension", chunked!("5;x\ry\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/extensions-without-end", "hardening: limits", Ours, "extensions without end are cut", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;"), Fill(b'x', 1_000_000), Send(b"\r\nhello\r\n0\r\n\r\n")], BAD),
    case("chunk/extensions-many", "hardening: limits", Ours, "many small extensions are bounded", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), Repeat(b"1;xxxxxxxxxxxxxxxx\r\nx\r\n", 20_000), Send(b"0\r\n\r\n")], BAD),
    case("chunk/size-0x", "RFC 9112 7.1", Should, "0x before a size", chunked!("0x5\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-plus", "RFC 9112 7.1", Should, "a sign before a size", chunked!("+5\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-minus", "RFC 9112 7.1", Should, "a negative size", chunked!("-5\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-empty", "RFC 9112 7.1", Should, "no size", chunked!("\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-letters", "RFC 9112 7.1", Should, "a size of other letters", chunked!("xyz\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-junk", "RFC 9112 7.1", Should, "junk behind a size", chunked!("5 foo\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-underscore", "RFC 9112 7.1", Should, "an underscore in a size", chunked!("0_5\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-space-before", "RFC 9112 7.1", Should, "a space before a size", chunked!(" 5\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-space-after", "RFC 9112 7.1.1", Ours, "white space behind a size is refused, or taken away", chunked!("5 \r\nhello\r\n0\r\n\r\n"), &[Either(HELLO, BAD)]),
    case("chunk/size-overflow", "RFC 9112 7.1", Must, "a size beyond 64 bits", chunked!("10000000000000005\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-huge", "RFC 9112 7.1", Must, "a size of twenty digits", chunked!("fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/size-lf", "RFC 9112 7.1", Ours, "a size ended by LF alone: refused, or read as CRLF and rebuilt", chunked!("5\nhello\r\n0\r\n\r\n"), &[Either(HELLO, BAD)]),
    case("chunk/size-cr", "RFC 9112 7.1", Should, "a size ended by CR alone", chunked!("5\rhello\r\n0\r\n\r\n"), BAD),
    case("chunk/no-crlf-after-data", "RFC 9112 7.1", Should, "no line end after a chunk", chunked!("5\r\nhello0\r\n\r\n"), BAD),
    case("chunk/junk-after-data", "RFC 9112 7.1", Should, "more data than the size says", chunked!("3\r\nhello\r\n0\r\n\r\n"), BAD),
    case("chunk/lf-after-data", "RFC 9112 7.1", Ours, "LF alone after a chunk: refused, or read as CRLF and rebuilt", chunked!("5\r\nhello\n0\r\n\r\n"), &[Either(HELLO, BAD)]),
    case("chunk/two-bytes-after-data", "RFC 9112 7.1", Should, "two bytes that are no CRLF after a chunk", chunked!("5\r\nhelloXX0\r\n\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), &[Lacks("smuggled"), Closed, NotWhole]),
    case("chunk/end-without-crlf", "RFC 9112 7.1", Should, "what follows the last chunk's line must be trailers or the end", chunked!("5\r\nhello\r\n0\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), &[Lacks("smuggled"), Closed]),
    case("chunk/lf-ends-body", "RFC 9112 7.1", Ours, "LF alone ends the body: refused, or read as CRLF", chunked!("5\r\nhello\r\n0\n\n"), &[Either(HELLO, BAD)]),
    case("chunk/cr-ends-nothing", "RFC 9112 7.1", Should, "CR without LF at the end", chunked!("5\r\nhello\r\n0\r\n\rX"), BAD),
    case("chunk/pipelined", "RFC 9112 9.3.2", Must, "the request behind a chunked body is the next one", chunked!("5\r\nhello\r\n0\r\n\r\nGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n"), &[Answers(2), Requests(2)]),
    case("chunk/empty-body", "RFC 9112 7.1", Must, "a chunked body without chunks", chunked!("0\r\n\r\n"), &[Status(&[200]), Requests(1), Body(b"")]),
    case("chunk/cut", "RFC 9112 8", Must, "a chunked body without its last chunk is no whole request", chunked!("5\r\nhello\r\n"), &[NotWhole]),
    case("trailer/plain", "RFC 9112 7.1.2", Must, "trailers are forwarded or dropped, and the body is whole", chunked!("5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"), HELLO),
    case("trailer/framing", "RFC 9110 6.5.1", Ours, "trailers cannot frame", chunked!("5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\n\r\n"), &[Either(BAD, &[Requests(1), Body(b"hello"), Lacks("content-length: 50"), Lacks("gzip")])]),
    case("trailer/host", "RFC 9110 6.5.1", Ours, "trailers cannot route", chunked!("5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n"), &[Either(BAD, &[Requests(1), Lacks("evil.example")])]),
    case("trailer/authorization", "RFC 9110 6.5.1", Ours, "trailers cannot authenticate", chunked!("5\r\nhello\r\n0\r\nAuthorization: evil\r\nCookie: evil\r\n\r\n"), &[Either(BAD, &[Requests(1), Lacks("evil")])]),
    case("trailer/forwarded", "hardening: trailers", Ours, "trailers cannot claim who asked", chunked!("5\r\nhello\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n"), &[Either(BAD, &[Requests(1), Lacks("6.6.6.6")])]),
    case("trailer/no-colon", "RFC 9112 7.1.2", Should, "a trailer that is no field", chunked!("5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), BAD),
    case("trailer/space-before-colon", "RFC 9112 5.1", Must, "a space before a trailer's colon", chunked!("5\r\nhello\r\n0\r\nX-A : b\r\n\r\n"), &[Either(BAD, &[Requests(1), Body(b"hello"), Lacks("x-a")])]),
    case("trailer/too-many", "hardening: limits", Ours, "trailers without end are cut", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"), Repeat(b"X-A: bbbbbbbbbbbbbbbbbbbbbbbb\r\n", 20_000), Send(b"\r\n")], BAD),
    case("trailer/declared", "RFC 9110 6.6.2", Must, "Trailer announces them", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")], &[Status(&[200]), Requests(1), Body(b"hello")]),
    case("trailer/reach-the-service", "RFC 9110 6.5", Ours, "trailers that carry data reach the service", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")], &[Status(&[200]), Requests(1), Saw("\r\nx-sum: 7\r\n")]),
];
