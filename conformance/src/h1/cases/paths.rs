//! Paths: one normal form for match, check, log and forward. RFC 3986 and the hardening list.

use crate::case::Level::{Must, Ours};
use crate::h1::table::Check::{Either, Lacks, Nothing, Requests, Saw, Status};
use crate::h1::table::Step::Send;
use crate::h1::table::{Case, Check, case};

const SECTION: &str = "hardening: dot segments";
/// Two servers could read it differently: refused, or brought into normal form before anything is done with it.
const NO: &[Check] = &[Status(&[400, 404]), Nothing];

macro_rules! get {
    ($target:expr) => {
        &[Send(concat!("GET ", $target, " HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())]
    };
}

pub(super) const CASES: &[Case] = &[
    case("path/dots-up", SECTION, Ours, "/../", get!("/../{t}"), NO),
    case("path/dots-inside", SECTION, Ours, "/a/../b", get!("/{t}/../b"), NO),
    case("path/dots-end", SECTION, Ours, "/a/..", get!("/{t}/.."), NO),
    case("path/dot-inside", SECTION, Ours, "/./a", get!("/./{t}"), NO),
    case("path/dot-end", SECTION, Ours, "/a/.", get!("/{t}/."), NO),
    case("path/dots-encoded", SECTION, Ours, "%2e%2e", get!("/%2e%2e/{t}"), NO),
    case("path/dots-half-encoded", SECTION, Ours, ".%2E", get!("/.%2E/{t}"), NO),
    case("path/dot-encoded", SECTION, Ours, "%2e", get!("/%2e/{t}"), NO),
    case("path/dots-semicolon", SECTION, Ours, "..; as some servers cut it", get!("/..;/{t}"), NO),
    case("path/dots-semicolon-parameter", SECTION, Ours, "..;a=b", get!("/{t}/..;a=b/c"), NO),
    case("path/dots-encoded-slash", SECTION, Ours, "..%2f", get!("/{t}/..%2fb"), NO),
    case("path/encoded-slash-dots", SECTION, Ours, "%2f..", get!("/{t}%2f..%2fb"), NO),
    case("path/dots-encoded-backslash", SECTION, Ours, "..%5c", get!("/{t}/..%5cb"), NO),
    case("path/dots-name", SECTION, Ours, "a segment that starts with two dots", get!("/..{t}"), NO),
    case("path/backslash", SECTION, Ours, "a backslash", get!("/{t}\\b"), NO),
    case("path/backslash-encoded", SECTION, Ours, "%5c", get!("/{t}%5cb"), NO),
    case("path/backslash-first", SECTION, Ours, "a backslash as first byte", get!("\\{t}"), NO),
    case("path/nul-encoded", SECTION, Ours, "%00", get!("/{t}%00"), NO),
    case(
        "path/percent-alone",
        "RFC 3986 2.1",
        Ours,
        "a percent sign that encodes nothing",
        get!("/{t}%"),
        NO,
    ),
    case("path/percent-half", "RFC 3986 2.1", Ours, "half an encoding", get!("/{t}%2"), NO),
    case("path/percent-letters", "RFC 3986 2.1", Ours, "an encoding that is no number", get!("/{t}%zz"), NO),
    case(
        "path/double-encoded",
        SECTION,
        Ours,
        "%252e stays what it is",
        get!("/{t}/%252e%252e/b"),
        &[Status(&[200]), Saw("/%252e%252e/b")],
    ),
    case(
        "path/overlong-utf8",
        SECTION,
        Ours,
        "%c0%ae is no dot and stays what it is",
        get!("/{t}/%c0%ae%c0%ae/b"),
        &[Either(&[Status(&[200]), Saw("%c0%ae%c0%ae/b")], NO)],
    ),
    case(
        "path/double-slash",
        SECTION,
        Ours,
        "double slashes stay",
        get!("/{t}//b"),
        &[Status(&[200]), Saw("//b http")],
    ),
    case(
        "path/encoded-slash",
        SECTION,
        Ours,
        "%2F elsewhere stays as it came",
        get!("/{t}/a%2Fb"),
        &[Status(&[200]), Saw("/a%2Fb")],
    ),
    case(
        "path/encoded-letter",
        SECTION,
        Ours,
        "%41 stays as it came",
        get!("/{t}/%41"),
        &[Status(&[200]), Saw("/%41")],
    ),
    case(
        "path/fragment",
        "RFC 9112 3.2",
        Ours,
        "a fragment is no part of a target",
        get!("/{t}#b"),
        &[Either(NO, &[Requests(1), Lacks("#b")])],
    ),
    case(
        "path/fragment-encoded",
        SECTION,
        Ours,
        "%23 stays as it came",
        get!("/{t}%23b"),
        &[Status(&[200]), Saw("%23b")],
    ),
    case(
        "path/query-untouched",
        SECTION,
        Ours,
        "a query is not judged and stays byte for byte",
        get!("/{t}?a=/../b&c=%00&d=%zz\\\\?"),
        &[Either(&[Status(&[200]), Saw("?a=/../b&c=%00&d=%zz")], NO)],
    ),
    case(
        "path/query-empty",
        "RFC 3986 3.4",
        Ours,
        "an empty query stays",
        get!("/{t}?"),
        &[Status(&[200]), Saw("? http/1.")],
    ),
    case(
        "path/semicolon",
        "RFC 3986 3.3",
        Ours,
        "parameters of a segment stay",
        get!("/{t};a=b/c"),
        &[Status(&[200]), Saw(";a=b/c")],
    ),
    case(
        "path/hidden-file",
        SECTION,
        Ours,
        ".well-known is no dot segment",
        get!("/.well-known/{t}"),
        &[Status(&[200]), Requests(1)],
    ),
    case(
        "path/dots-in-name",
        SECTION,
        Ours,
        "dots inside a name",
        get!("/{t}/a..b"),
        &[Status(&[200]), Saw("/a..b")],
    ),
    case(
        "path/sub-delims",
        "RFC 3986 2.2",
        Must,
        "every delimiter that a path may have",
        get!("/{t}/!$&'()*+,;=:@-._~"),
        &[Status(&[200]), Saw("/!$&'()*+,;=:@-._~ ")],
    ),
    case(
        "path/absolute-form-dots",
        SECTION,
        Ours,
        "dot segments in the absolute form",
        get!("http://a/{t}/../b"),
        NO,
    ),
    case(
        "path/colon-first",
        "RFC 3986 4.2",
        Ours,
        "what looks like a scheme in a path",
        get!("/http://b.example/{t}"),
        &[Status(&[200]), Saw("get /http://b.example/")],
    ),
    case(
        "path/authority-like",
        "hardening: open redirect",
        Ours,
        "// at the start is a path, and no redirect names another host",
        get!("//b.example/{t}"),
        &[Check::GotNot("location: //"), Check::GotNot("location: http://b.example")],
    ),
];
