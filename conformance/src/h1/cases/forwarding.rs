//! What is said about the client: RFC 7239 and the hardening list.

use crate::case::Level::Ours;
use crate::h1::table::Check::{GotNot, Lacks, Saw, Status};
use crate::h1::table::Step::Send;
use crate::h1::table::{Case, case};

const SPOOFED: &str = "hardening: spoofed X-Forwarded-*";

macro_rules! get {
    ($fields:expr) => {
        &[Send(concat!("GET /{t} HTTP/1.1\r\nHost: a.example\r\n", $fields, "\r\n").as_bytes())]
    };
}

pub(super) const CASES: &[Case] = &[
    case(
        "forward/for",
        SPOOFED,
        Ours,
        "the peer is told",
        get!(""),
        &[Status(&[200]), Saw("x-forwarded-for: 127.0.0.1\r\n")],
    ),
    case(
        "forward/proto",
        SPOOFED,
        Ours,
        "the scheme is told",
        get!(""),
        &[Status(&[200]), Saw("x-forwarded-proto: http")],
    ),
    case(
        "forward/host",
        SPOOFED,
        Ours,
        "the host is told",
        get!(""),
        &[Status(&[200]), Saw("x-forwarded-host: a.example\r\n")],
    ),
    case(
        "forward/spoofed-for",
        SPOOFED,
        Ours,
        "X-Forwarded-For of an untrusted client goes",
        get!("X-Forwarded-For: 6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6")],
    ),
    case(
        "forward/spoofed-for-twice",
        SPOOFED,
        Ours,
        "also when it comes twice",
        get!("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6")],
    ),
    case(
        "forward/spoofed-proto",
        SPOOFED,
        Ours,
        "X-Forwarded-Proto",
        get!("X-Forwarded-Proto: spoofed\r\n"),
        &[Status(&[200]), Lacks("spoofed")],
    ),
    case(
        "forward/spoofed-host",
        SPOOFED,
        Ours,
        "X-Forwarded-Host",
        get!("X-Forwarded-Host: spoofed\r\n"),
        &[Status(&[200]), Lacks("spoofed")],
    ),
    case(
        "forward/spoofed-port",
        SPOOFED,
        Ours,
        "X-Forwarded-Port",
        get!("X-Forwarded-Port: 6666\r\n"),
        &[Status(&[200]), Lacks("6666")],
    ),
    case(
        "forward/spoofed-prefix",
        SPOOFED,
        Ours,
        "X-Forwarded-Prefix",
        get!("X-Forwarded-Prefix: /spoofed\r\n"),
        &[Status(&[200]), Lacks("spoofed")],
    ),
    case(
        "forward/spoofed-any",
        SPOOFED,
        Ours,
        "any other X-Forwarded-",
        get!("X-Forwarded-Anything: spoofed\r\n"),
        &[Status(&[200]), Lacks("spoofed")],
    ),
    case(
        "forward/spoofed-forwarded",
        SPOOFED,
        Ours,
        "Forwarded",
        get!("Forwarded: for=6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6")],
    ),
    case(
        "forward/spoofed-real-ip",
        SPOOFED,
        Ours,
        "X-Real-IP",
        get!("X-Real-IP: 6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6")],
    ),
    case(
        "forward/spoofed-underscores",
        SPOOFED,
        Ours,
        "underscores instead of hyphens",
        get!("X_FORWARDED_FOR: 6.6.6.6\r\nX_Forwarded-Host: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6")],
    ),
    case(
        "forward/spoofed-by-connection",
        SPOOFED,
        Ours,
        "and naming them in Connection changes nothing",
        get!("Connection: x-forwarded-for\r\nX-Forwarded-For: 6.6.6.6\r\n"),
        &[Status(&[200]), Lacks("6.6.6.6"), Saw("127.0.0.1")],
    ),
    case(
        "forward/request-id-control",
        "hardening: control bytes",
        Ours,
        "a request id cannot carry what breaks a log line",
        get!("X-Request-Id: a\"b\tc\r\n"),
        &[Status(&[200]), GotNot("x-request-id: a\"b\tc")],
    ),
    case(
        "forward/request-id-thrice",
        SPOOFED,
        Ours,
        "three request ids are none: one new one",
        get!("X-Request-Id: one\r\nX-Request-Id: two\r\nX-Request-Id: three\r\n"),
        &[Status(&[200]), Lacks("x-request-id: two")],
    ),
    case(
        "forward/spoofed-identity",
        "hardening: spoofed identity",
        Ours,
        "who a client proved to be cannot be made up",
        get!(
            "Client-Cert: :spoofed:\r\nClient-Cert-Chain: :spoofed:\r\nX-Client-Cert-Subject: spoofed\r\nX_Client_Cert_Subject: spoofed\r\nclient_cert: spoofed\r\n"
        ),
        &[Status(&[200]), Lacks("spoofed")],
    ),
    case(
        "forward/redirect-host",
        "hardening: open redirect",
        Ours,
        "a redirect of the gateway names no host",
        &[Send(b"GET /v2/{t} HTTP/1.1\r\nHost: evil.example\r\n\r\n")],
        &[GotNot("location: http"), GotNot("location: //")],
    ),
];
