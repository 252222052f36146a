//! A service that misbehaves: RFC 9112 6.3 and the hardening list. Whatever it does, the next client is clean.

use crate::case::Level::{Must, Ours, Should};
use crate::h1::table::Check::{AnswerBody, Answers, Clean, Cut, Either, Got, GotNot, Open, Requests, Status};
use crate::h1::table::Step::{Fill, Send};
use crate::h1::table::{Case, Step, answered};
use crate::upstream::Answer::{Bytes, BytesAndClose, Early, Flood, Large, Ordinary};

const ROW: &str = "hardening: upstream answers";
const GET: &[Step] = &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")];
const HEAD: &[Step] = &[Send(b"HEAD /{t} HTTP/1.1\r\nHost: a\r\n\r\n")];

pub(super) const CASES: &[Case] = &[
    answered("up/both-framings", "RFC 9112 6.3", Must, "both framings: the chunks rule and the length goes, or 502", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), GET, &[Either(&[AnswerBody(b"hello"), GotNot("content-length: 3\r\n")], &[Status(&[502])]), Clean]),
    answered("up/two-lengths", "RFC 9112 6.3", Must, "two lengths that differ are a 502", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), GET, &[Status(&[502]), Clean]),
    answered("up/length-list", "RFC 9112 6.3", Must, "a list of lengths that differ", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!"), GET, &[Status(&[502]), Clean]),
    answered("up/length-junk", "RFC 9112 6.3", Must, "a length that is no number", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"), GET, &[Status(&[502]), Clean]),
    answered("up/length-plus", "RFC 9112 6.3", Must, "a length with a sign", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"), GET, &[Status(&[502]), Clean]),
    answered("up/length-short", "RFC 9112 8", Must, "an answer that ends before its length is cut for the client too", BytesAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"), GET, &[Either(&[Cut], &[Status(&[502])]), Clean]),
    answered("up/chunks-cut", "RFC 9112 8", Must, "a chunked answer without its last chunk is cut for the client too", BytesAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), GET, &[Either(&[Cut], &[Status(&[502])]), Clean]),
    answered("up/chunks-bad", "RFC 9112 7.1", Must, "a bad chunk size in an answer", BytesAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n\r\n"), GET, &[Either(&[Cut], &[Status(&[502])]), Clean]),
    answered("up/coding-unknown", "RFC 9112 6.1", Ours, "a coding that would be lost with its name", BytesAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), GET, &[Status(&[502]), Clean]),
    answered("up/body-on-204", "RFC 9112 6.3", Must, "a body on 204 is none, and no answer for the next client", Bytes(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[204, 502]), GotNot("poisoned"), Clean]),
    answered("up/length-on-204", "RFC 9110 8.6", Must, "a length on 204 is no body, and is not passed on", Bytes(b"HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[204, 502]), GotNot("content-length: 8"), GotNot("poisoned"), Clean]),
    answered("up/coding-on-204", "RFC 9112 6.1", Must, "a coding on 204 is not passed on", Bytes(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), GET, &[Status(&[204, 502]), GotNot("transfer-encoding"), GotNot("hello"), Clean]),
    answered("up/body-on-304", "RFC 9112 6.3", Must, "a body on 304 is none", Bytes(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[304, 502]), GotNot("poisoned"), Clean]),
    answered("up/body-on-head", "RFC 9112 6.3", Must, "a body on HEAD is none", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"), HEAD, &[Status(&[200, 502]), GotNot("poisoned"), Clean]),
    answered("up/bytes-after-end", ROW, Ours, "bytes after the end are dropped with the connection", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[200, 502]), GotNot("poisoned"), Clean]),
    answered("up/bytes-after-chunks", ROW, Ours, "also after chunks", Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[200, 502]), GotNot("poisoned"), Clean]),
    answered("up/answer-before-request", ROW, Ours, "two answers to one request", Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"), GET, &[Status(&[200, 502]), Answers(1), GotNot("poisoned"), Clean]),
    answered("up/not-http", "RFC 9112 4", Should, "what is no HTTP", BytesAndClose(b"SSH-2.0-OpenSSH\r\n\r\n"), GET, &[Status(&[502]), Clean]),
    answered("up/http09", "RFC 9112 4", Should, "an answer without a head", BytesAndClose(b"<html>hello</html>"), GET, &[Status(&[502]), Clean]),
    answered("up/bad-status", "RFC 9112 4", Should, "a status of two digits", BytesAndClose(b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Status(&[502]), Clean]),
    answered("up/status-letters", "RFC 9112 4", Should, "a status of letters", BytesAndClose(b"HTTP/1.1 abc OK\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Status(&[502]), Clean]),
    answered("up/status-600", "RFC 9110 15", Ours, "a status beyond the classes passes, or is a 502", BytesAndClose(b"HTTP/1.1 699 Odd\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Status(&[699, 502]), Clean]),
    answered("up/nothing", ROW, Ours, "no answer at all is a 502", BytesAndClose(b""), GET, &[Status(&[502]), Clean]),
    answered("up/half-head", ROW, Ours, "half a head is a 502", BytesAndClose(b"HTTP/1.1 200 OK\r\nContent-Le"), GET, &[Status(&[502]), Clean]),
    answered("up/field-bad-name", "RFC 9112 5.1", Ours, "a field name that is none", BytesAndClose(b"HTTP/1.1 200 OK\r\nX(A): b\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Either(&[Status(&[502])], &[Status(&[200]), GotNot("x(a)")]), Clean]),
    answered("up/field-space-before-colon", "RFC 9112 5.1", Must, "a space before a colon is taken out, or a 502", BytesAndClose(b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Either(&[Status(&[502])], &[Status(&[200]), GotNot("x-a :")]), Clean]),
    answered("up/field-folded", "RFC 9112 5.2", Must, "a folded field is unfolded, or a 502", BytesAndClose(b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Either(&[Status(&[502])], &[Status(&[200]), GotNot("\r\n c")]), Clean]),
    answered("up/field-nul", "RFC 9110 5.5", Must, "a NUL in a value is replaced, or a 502", BytesAndClose(b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Either(&[Status(&[502])], &[Status(&[200]), GotNot("b\0c")]), Clean]),
    answered("up/field-cr", "RFC 9110 5.5", Must, "a CR in a value is replaced, or a 502", BytesAndClose(b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Either(&[Status(&[502])], &[Status(&[200]), GotNot("b\rset-cookie")]), Clean]),
    answered("up/head-too-large", ROW, Ours, "an endless head is a 502", BytesAndClose(&HUGE_HEAD), GET, &[Status(&[502]), Clean]),
    answered("up/hop-by-hop", "RFC 9110 7.6.1", Must, "hop-by-hop fields of an answer end here", Bytes(b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: secret\r\nKeep-Alive: timeout=77\r\nContent-Length: 5\r\n\r\nhello"), GET, &[Status(&[200]), GotNot("secret"), GotNot("timeout=77")]),
    answered("up/close-is-ours", "RFC 9110 7.6.1", Must, "the service's close does not close the client's connection", BytesAndClose(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"), GET, &[AnswerBody(b"hello"), Open, Clean]),
    answered("up/until-close", "RFC 9112 6.3", Must, "an answer that ends with its connection arrives whole", BytesAndClose(b"HTTP/1.1 200 OK\r\n\r\nhello"), GET, &[AnswerBody(b"hello"), Clean]),
    answered("up/http10", "RFC 9112 2.3", Must, "an answer of HTTP/1.0", BytesAndClose(b"HTTP/1.0 200 OK\r\n\r\nhello"), GET, &[AnswerBody(b"hello"), Got("http/1.1 200"), Clean]),
    answered("up/http10-chunked", "RFC 9112 6.1", Ours, "a coding in an answer of HTTP/1.0: a 502, or read as it is said", BytesAndClose(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), GET, &[Either(&[Status(&[502])], &[Status(&[200])]), Clean]),
    answered("up/chunk-extension", "RFC 9112 7.1.1", Must, "chunk extensions of an answer end here", Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;secret=1\r\nhello\r\n0\r\n\r\n"), GET, &[AnswerBody(b"hello"), GotNot("secret"), Clean]),
    answered("up/interim-100", "RFC 9110 15.2", Must, "a 100 that nobody asked for is no final answer", Bytes(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), GET, &[AnswerBody(b"hello"), Clean]),
    answered("up/interim-103", "RFC 9110 15.2", Must, "103 is passed on or dropped, and the answer follows", Bytes(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), GET, &[AnswerBody(b"hello"), Clean]),
    answered("up/interim-flood", ROW, Ours, "a flood of 1xx is bounded: the answer or a 502, in time", Flood(b"HTTP/1.1 100 Continue\r\n\r\n", 20_000), GET, &[Status(&[200, 502]), Clean]),
    answered("up/101-unasked", "RFC 9110 7.8", Ours, "a 101 that nobody asked for opens no tunnel", Bytes(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\npoisoned"), GET, &[Status(&[502]), GotNot("poisoned"), GotNot(" 101 "), Clean]),
    answered("up/early-answer", ROW, Ours, "an answer before the body is through arrives", Early(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly"), &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n"), Fill(b'x', 2_000_000)], &[Status(&[413]), Clean]),
    answered("up/early-answer-kept", ROW, Ours, "an early answer without close leaves nothing of its body for the next client", Early(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"), &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"), Fill(b'x', 100_000)], &[Status(&[200]), Clean]),
    answered("up/large", "RFC 9112 6.2", Must, "a large answer arrives whole", Large(3_000_000), GET, &[Status(&[200]), Requests(1), crate::h1::table::Check::Open]),
    answered("up/ordinary", "RFC 9112 6.2", Must, "an ordinary answer leaves the connection usable", Ordinary, GET, &[Status(&[200]), Open, Clean]),
];

/// A head of 300 kB.
static HUGE_HEAD: [u8; 300_000] = {
    let mut bytes = [b'a'; 300_000];
    let start = *b"HTTP/1.1 200 OK\r\nX-A: ";
    let mut at = 0;
    while at < start.len() {
        bytes[at] = start[at];
        at += 1;
    }
    bytes
};
