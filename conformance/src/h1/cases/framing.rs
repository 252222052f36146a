//! Where a request ends: RFC 9112 6, RFC 9110 8.6.

use crate::case::Level::{Must, Ours, Should};
use crate::h1::table::Check::{Answers, Body, Closed, Either, Lacks, Nothing, Open, Requests, Saw, Status};
use crate::h1::table::Step::{Fill, Send};
use crate::h1::table::{Case, REFUSED, case};

/// Refused: nothing of it reaches the service, not even its head, and the connection ends.
const FATAL: &[crate::h1::table::Check] = &[Status(&[400, 411, 501]), Closed, Nothing];

pub(super) const CASES: &[Case] = &[
    case("length/plain", "RFC 9112 6.2", Must, "a body with a length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[200]), Requests(1), Body(b"hello"), Open]),
    case("length/zero", "RFC 9112 6.2", Must, "length 0", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")], &[Status(&[200]), Requests(1), Body(b""), Open]),
    case("length/none", "RFC 9112 6.3", Must, "no length and no coding: no body", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(2), Requests(2)]),
    case("length/leading-zeros", "RFC 9110 8.6", Must, "leading zeros are digits", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello")], &[Either(&[Status(&[200]), Requests(1), Body(b"hello")], FATAL)]),
    case("length/two-different", "RFC 9112 6.3", Must, "two lengths that differ", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")], FATAL),
    case("length/two-same", "RFC 9112 6.3", Ours, "the same length twice is refused, or forwarded once", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")], &[Either(FATAL, &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("length/list-different", "RFC 9112 6.3", Must, "a list of lengths that differ", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello!")], FATAL),
    case("length/list-same", "RFC 9112 6.3", Ours, "a list of the same length is refused, or forwarded as one", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello")], &[Either(FATAL, &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("length/plus", "RFC 9112 6.3", Must, "a sign", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello")], FATAL),
    case("length/minus", "RFC 9112 6.3", Must, "a negative length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello")], FATAL),
    case("length/minus-zero", "RFC 9112 6.3", Must, "-0", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n")], FATAL),
    case("length/hex", "RFC 9112 6.3", Must, "a hexadecimal length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello")], FATAL),
    case("length/decimal-point", "RFC 9112 6.3", Must, "a decimal point", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello")], FATAL),
    case("length/space-inside", "RFC 9112 6.3", Must, "a space between digits", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5 0\r\n\r\nhello")], FATAL),
    case("length/underscore", "RFC 9112 6.3", Must, "an underscore between digits", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nhellohello")], FATAL),
    case("length/empty", "RFC 9112 6.3", Must, "an empty length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello")], FATAL),
    case("length/word", "RFC 9112 6.3", Must, "a word", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\nhello")], FATAL),
    case("length/overflow-64", "RFC 9110 8.6", Must, "a length beyond 64 bits", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello")], &[Status(&[400, 413]), Closed, Nothing]),
    case("length/overflow-128", "RFC 9110 8.6", Must, "a length of forty digits", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: "), Fill(b'9', 40), Send(b"\r\n\r\nhello")], &[Status(&[400, 413]), Closed, Nothing]),
    case("length/fullwidth-digit", "RFC 9112 6.3", Must, "digits of other alphabets", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: \xef\xbc\x95\r\n\r\nhello")], FATAL),
    case("length/on-get", "RFC 9110 9.3.1", Must, "a GET may have a body; it is no second request", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 34\r\n\r\nGET /{t}/b HTTP/1.1\r\nHost: a\r\n")], &[Either(&[Requests(1), Answers(1)], &[Status(&[400, 413]), Closed, Nothing])]),
    case("length/and-chunked", "RFC 9112 6.3", Must, "both framings: refused, or the coding rules, the length is not forwarded and the connection ends", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Closed, Lacks("content-length: 4\r\n"), Either(&[Status(&[400]), Nothing], &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("length/and-chunked-order", "RFC 9112 6.3", Must, "both framings, the other way around", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Closed, Lacks("content-length: 4\r\n"), Either(&[Status(&[400]), Nothing], &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("length/and-chunked-smuggle", "RFC 9112 6.3", Must, "both framings with a request behind the shorter one", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 45\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")], &[Closed, Lacks("smuggled")]),
    case("coding/plain", "RFC 9112 7.1", Must, "a chunked body", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Status(&[200]), Requests(1), Body(b"hello"), Open]),
    case("coding/case", "RFC 9112 7", Must, "the coding's name in any case", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Status(&[200]), Requests(1), Body(b"hello")]),
    case("coding/unknown", "RFC 9112 6.1", Should, "a coding that nobody knows", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13\r\n\r\nhello")], FATAL),
    case("coding/identity", "RFC 9112 7", Should, "identity is no coding any more", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello")], FATAL),
    case("coding/not-last", "RFC 9112 6.3", Must, "chunked that is not the last coding", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/twice", "RFC 9112 6.1", Ours, "chunked twice", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/two-fields", "RFC 9112 6.1", Ours, "chunked in two fields", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/two-fields-other", "RFC 9112 6.1", Must, "chunked and another coding in two fields", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/gzip-chunked", "RFC 9112 6.1", Ours, "a coding before chunked, which would be lost with its name", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/quoted", "RFC 9112 6.1", Must, "chunked in quotes", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/xchunked", "RFC 9112 6.1", Must, "a name that ends in chunked", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/parameter", "RFC 9112 7.1", Should, "chunked with a parameter", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=y\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/vertical-tab", "RFC 9112 6.1", Must, "a vertical tab before chunked", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], FATAL),
    case("coding/nul", "RFC 9110 5.5", Must, "a NUL behind chunked", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Either(FATAL, &[Requests(1), Body(b"hello")])]),
    case("coding/empty", "RFC 9112 6.1", Ours, "an empty coding with a length beside it", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello")], FATAL),
    case("coding/comma-first", "RFC 9110 5.6.1", Ours, "an empty element before chunked: refused, or read as chunked", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Either(FATAL, &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("coding/space-before-colon", "RFC 9112 5.1", Must, "a space before the colon of the coding", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], REFUSED),
    case("coding/folded", "RFC 9112 5.2", Must, "a folded coding", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Either(FATAL, &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("coding/http10", "RFC 9112 6.1", Must, "a coding in HTTP/1.0 is faulty framing", &[Send(b"POST /{t} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Closed, Either(&[Status(&[400, 411, 501]), Nothing], &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("coding/http10-keep-alive", "RFC 9112 6.1", Ours, "a coding in HTTP/1.0 that asks to stay", &[Send(b"POST /{t} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Status(&[400, 411, 501]), Closed, Nothing]),
    case("coding/http10-and-length", "RFC 9112 6.1", Must, "both framings in HTTP/1.0", &[Send(b"POST /{t} HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")], &[Closed, Lacks("smuggled")]),
    case("coding/underscore-alias", "hardening: framing", Ours, "an underscore alias of the coding frames nothing", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello")], &[Either(REFUSED, &[Status(&[200]), Requests(1), Body(b"hello")])]),
    case("body/cut-by-end", "RFC 9112 8", Must, "a body that ends before its length is no whole request", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello")], &[crate::h1::table::Check::NotWhole]),
    case("body/rebuilt", "hardening: rebuild framing", Ours, "a chunked body goes on with one framing", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")], &[Status(&[200]), Requests(1), Body(b"hello"), Either(&[Saw("transfer-encoding: chunked"), Lacks("content-length")], &[Saw("content-length: 5"), Lacks("transfer-encoding")])]),
];
