//! Connections and their fields: RFC 9112 9, RFC 9110 7.6.1.

use crate::case::Level::{Must, Ours, Should};
use crate::h1::table::Check::{
    Answers, Body, Closed, Either, Got, GotNot, Lacks, Nothing, Open, Requests, Saw, Status,
};
use crate::h1::table::Step::{Await, Fill, Send};
use crate::h1::table::{Case, SERVED, case};

pub(super) const CASES: &[Case] = &[
    case("keep/http11", "RFC 9112 9.3", Must, "HTTP/1.1 stays", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[200]), Open]),
    case("keep/close", "RFC 9112 9.6", Must, "close closes after the answer", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")], &[Status(&[200]), Closed, Requests(1)]),
    case("keep/close-is-said", "RFC 9112 9.6", Should, "who closes says so", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")], &[Got("connection: close")]),
    case("keep/close-in-list", "RFC 9112 9.6", Must, "close among other options", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: x-a, Close\r\n\r\n")], &[Status(&[200]), Closed]),
    case("keep/nothing-after-close", "RFC 9112 9.6", Must, "nothing is processed after a request that closes", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Requests(1), Closed]),
    case("keep/http10", "RFC 9112 9.3", Must, "HTTP/1.0 closes", &[Send(b"GET /{t} HTTP/1.0\r\nHost: a\r\n\r\n")], &[Status(&[200]), Closed]),
    case("keep/http10-keep-alive", "RFC 9112 9.3", Should, "HTTP/1.0 with keep-alive stays or closes, and says which", &[Send(b"GET /{t} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")], &[Status(&[200]), Either(&[Got("connection: keep-alive")], &[Closed])]),
    case("keep/http10-no-chunks", "RFC 9112 6.1", Must, "no chunked answer to HTTP/1.0", &[Send(b"GET /{t} HTTP/1.0\r\nHost: a\r\n\r\n")], &[Status(&[200]), GotNot("transfer-encoding")]),
    case("keep/answers-as-http11", "RFC 9110 2.5", Must, "an answer is of the connection's version", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Got("http/1.1 200")]),
    case("pipeline/two", "RFC 9112 9.3.2", Must, "two requests at once are answered in order", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(2), Requests(2)]),
    case("pipeline/five", "RFC 9112 9.3.2", Must, "five requests at once", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(5), Requests(5)]),
    case("pipeline/good-then-bad", "RFC 9112 9.3.2", Must, "a bad request behind a good one", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\nGE(T /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[200]), Answers(2), Requests(1), Closed]),
    case("pipeline/body-then-request", "RFC 9112 9.3.2", Must, "a request behind a body with a length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(2), Requests(2), Body(b"hello")]),
    case("pipeline/crlf-between", "RFC 9112 2.2", Should, "an empty line between requests is ignored", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(2), Requests(2)]),
    case("pipeline/refused-body-is-no-request", "hardening: our own 4xx", Ours, "the body behind a refusal is never read as a request", &[Send(b"POST /../{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /{t}/smuggled HTTP/1.1\r\nHost: aaaa\r\n\r\nGET /{t}/x")], &[Lacks("smuggled"), Nothing]),
    case("pipeline/split", "RFC 9112 2.1", Must, "a request in pieces", &[Send(b"GE"), Send(b"T /{t} HT"), Send(b"TP/1.1\r"), Send(b"\nHost"), Send(b": a\r\n\r"), Send(b"\n")], SERVED),
    case("hop/named", "RFC 9110 7.6.1", Must, "fields that Connection names end here", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nX-Hop: secret\r\n\r\n")], &[Status(&[200]), Requests(1), Lacks("secret")]),
    case("hop/named-list", "RFC 9110 7.6.1", Must, "several of them, in several fields", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: x-one , X-Two\r\nX-One: secret\r\nConnection: X-THREE\r\nX-Two: secret\r\nX-Three: secret\r\n\r\n")], &[Status(&[200]), Requests(1), Lacks("secret")]),
    case("hop/keep-alive", "RFC 9110 7.6.1", Must, "Keep-Alive ends here", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=77\r\n\r\n")], &[Status(&[200]), Lacks("timeout=77")]),
    case("hop/proxy-connection", "RFC 9110 7.6.1", Should, "Proxy-Connection ends here", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n")], &[Status(&[200]), Lacks("proxy-connection")]),
    case("hop/te", "RFC 9110 10.1.4", Must, "TE ends here, but for trailers", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: gzip;q=0.7\r\n\r\n")], &[Status(&[200]), Lacks("gzip")]),
    case("hop/proxy-authorization", "RFC 9110 11.7.2", Ours, "credentials for a proxy end at the proxy", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic secret\r\n\r\n")], &[Status(&[200]), Lacks("proxy-authorization")]),
    case("hop/upgrade", "RFC 9110 7.8", Ours, "Upgrade is not passed on by itself", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: nonsense/7\r\n\r\n")], &[Status(&[200, 400, 426, 501]), Lacks("nonsense/7")]),
    case("hop/h2c-upgrade", "RFC 9113 3.1", Ours, "an upgrade to h2c is ignored, and its settings go", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")], &[Status(&[200, 400, 501]), GotNot(" 101 "), Lacks("h2c"), Lacks("http2-settings")]),
    case("hop/h2c-smuggle", "hardening: Upgrade", Ours, "no tunnel by an upgrade to h2c", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), Await(b"\r\n\r\n"), Send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], &[Lacks("pri *"), Requests(1)]),
    case("hop/names-host", "hardening: Connection", Ours, "Connection cannot name Host away", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a.example\r\nConnection: host\r\n\r\n")], &[Either(&[Status(&[200]), Saw("host: a.example")], &[Status(&[400]), Nothing])]),
    case("hop/names-authorization", "hardening: Connection", Ours, "nor Authorization and Cookie", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: authorization, cookie\r\nAuthorization: Bearer keep1\r\nCookie: keep2\r\n\r\n")], &[Either(&[Saw("keep1"), Saw("keep2")], &[Status(&[400]), Nothing])]),
    case("hop/names-length", "hardening: Connection", Ours, "nor the length", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello")], &[Either(&[Status(&[200]), Requests(1), Body(b"hello")], &[Status(&[400]), Nothing])]),
    case("hop/names-coding", "hardening: Connection", Ours, "nor the coding", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")], &[Either(&[Status(&[200]), Requests(1), Body(b"hello")], &[Status(&[400]), Nothing])]),
    case("hop/names-forwarded", "hardening: Connection", Ours, "nor what we say of the client", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for, x-real-ip, forwarded\r\n\r\n")], &[Status(&[200]), Either(&[Saw("x-forwarded-for: 127.0.0.1")], &[Saw("forwarded: for=127.0.0.1")])]),
    case("expect/continue", "RFC 9110 10.1.1", Must, "100 comes before the body is sent", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"), Await(b" 100 "), Send(b"hello")], &[Got("http/1.1 100"), Status(&[200]), Requests(1), Body(b"hello")]),
    case("expect/case", "RFC 9110 10.1.1", Must, "the expectation in any case", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n"), Await(b" 100 "), Send(b"hello")], &[Got("http/1.1 100"), Status(&[200]), Requests(1)]),
    case("expect/body-at-once", "RFC 9110 10.1.1", Must, "a client that does not wait", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[200]), Requests(1), Body(b"hello")]),
    case("expect/unknown", "RFC 9110 10.1.1", Ours, "an expectation that nobody knows", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nExpect: teapot\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[417]), Nothing]),
    case("expect/http10", "RFC 9110 10.1.1", Must, "HTTP/1.0 gets no 100", &[Send(b"POST /{t} HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")], &[GotNot(" 100 "), Status(&[200])]),
    case("expect/no-body", "RFC 9110 10.1.1", Should, "no 100 where no body comes", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")], &[Status(&[200, 417]), GotNot(" 100 ")]),
    case("expect/refused-first", "RFC 9110 10.1.1", Ours, "no 100 before a refusal", &[Send(b"POST /../{t} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")], &[Status(&[400, 404]), GotNot(" 100 "), Nothing]),
    case("body/large", "RFC 9112 6.2", Must, "a large body arrives whole", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"), Fill(b'x', 900_000)], SERVED),
    case("via/added", "RFC 9110 7.6.3", Must, "a proxy signs in Via", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Saw("\r\nvia: 1.1 ")]),
    case("via/appended", "RFC 9110 7.6.3", Must, "and keeps the signatures before its own", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\n\r\n")], &[Saw("1.0 fred"), Saw("1.1 ")]),
];
