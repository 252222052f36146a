//! Methods with rules of their own: RFC 9110 9.

use crate::case::Level::{Must, Ours};
use crate::h1::table::Check::{Answers, Body, Closed, Either, GotNot, Nothing, Open, Requests, Saw, Status};
use crate::h1::table::Step::{Await, Send};
use crate::h1::table::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("method/head", "RFC 9110 9.3.2", Must, "the answer to HEAD has no body", &[Send(b"HEAD /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[200]), Requests(1), GotNot("\r\n\r\nc"), Open]),
    case("method/head-is-forwarded-as-head", "RFC 9110 9.3.2", Ours, "HEAD stays HEAD", &[Send(b"HEAD /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Saw("head /")]),
    case("method/head-refused", "RFC 9110 9.3.2", Must, "a refusal of HEAD has no body either", &[Send(b"HEAD /../{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[200, 400, 404]), GotNot("\r\n\r\n{"), GotNot("\r\n\r\n<")]),
    case("method/put", "RFC 9110 9.3.4", Must, "PUT with a body", &[Send(b"PUT /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[200]), Requests(1), Body(b"hello")]),
    case("method/delete-body", "RFC 9110 9.3.5", Must, "a body of DELETE is framed as any other", &[Send(b"DELETE /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[Answers(2), Requests(2)]),
    case("method/patch", "RFC 5789 2", Must, "PATCH", &[Send(b"PATCH /{t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[200]), Requests(1), Body(b"hello")]),
    case("method/options", "RFC 9110 9.3.7", Must, "OPTIONS of a path", &[Send(b"OPTIONS /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[200]), Requests(1)]),
    case("method/connect", "hardening: CONNECT", Ours, "CONNECT is refused and opens no tunnel", &[Send(b"CONNECT {t}:80 HTTP/1.1\r\nHost: {t}:80\r\n\r\n"), Await(b"\r\n\r\n"), Send(b"GET /{t}/tunnel HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[400, 403, 404, 405, 501]), crate::h1::table::Check::Lacks("connect")]),
    case("method/connect-origin-form", "RFC 9112 3.2.3", Must, "CONNECT with a path", &[Send(b"CONNECT /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Status(&[400, 403, 404, 405, 501]), Nothing]),
    case("method/connect-body", "hardening: CONNECT", Ours, "what follows a refused CONNECT is no tunnel", &[Send(b"CONNECT {t}:80 HTTP/1.1\r\nHost: {t}:80\r\nContent-Length: 5\r\n\r\nhello")], &[Status(&[400, 403, 404, 405, 501]), Nothing]),
    case("method/trace-passes-or-not", "RFC 9110 9.3.8", Ours, "TRACE is refused or forwarded, never answered with what came", &[Send(b"TRACE /{t} HTTP/1.1\r\nHost: a\r\nX-Secret: s3cret\r\n\r\n")], &[GotNot("s3cret"), Either(&[Requests(1)], &[Status(&[400, 405, 501]), Nothing])]),
    case("method/pri", "RFC 9113 3.4", Must, "PRI is no method", &[Send(b"PRI /{t} HTTP/1.1\r\nHost: a\r\n\r\n")], &[Either(&[Status(&[400, 405, 501]), Nothing], &[Status(&[200]), Requests(1)])]),
    case("method/websocket-without-key", "RFC 6455 4.2.1", Ours, "an upgrade that no service accepts stays a request", &[Send(b"GET /{t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")], &[Status(&[200, 400, 426]), GotNot(" 101 ")]),
    case("method/upgrade-with-body", "hardening: Upgrade", Ours, "an upgrade with a body opens no tunnel", &[Send(b"POST /{t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello"), Await(b"\r\n\r\n"), Send(b"GET /{t}/2 HTTP/1.1\r\nHost: a\r\n\r\n")], &[GotNot(" 101 "), Either(&[Status(&[200]), Body(b"hello")], &[Status(&[400, 426, 501]), Nothing, Closed])]),
];
