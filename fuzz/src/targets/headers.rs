//! The rules about header fields, as laws over whatever a peer sends.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, HOST, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use vertice_gateway::fields::{is_for_one_hop, is_ours, strip_trailers};
use vertice_gateway::http::forwarded::Peer;
use vertice_gateway::http::{grpc, headers, request_id};

use crate::Target;

const WORDS: &[&str] = &[
    "connection: ",
    "close",
    "keep-alive",
    "te: ",
    "trailers",
    "transfer-encoding: chunked\n",
    "content-length: 5\n",
    "upgrade: ",
    "websocket",
    "h2c",
    "http2-settings: ",
    "x-forwarded-for: ",
    "x_forwarded_for: ",
    "forwarded: ",
    "x-real-ip: ",
    "client-cert: ",
    "x_client_cert_subject: ",
    "x-request-id: ",
    "host: a\n",
    "cookie: a=b\n",
    "authorization: ",
    "proxy-authorization: ",
    "proxy-connection: ",
    "expect: 100-continue\n",
    "content-type: ",
    "via: ",
    "grpc-timeout: ",
    "1S",
    "99999999H",
    "trailer: ",
    ", ",
    "\n",
    "\"",
    "%",
];

/// Fields as a library gives them: valid names and values, in any order and number.
fn fields(input: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in input.split(|b| *b == b'\n').take(200) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    map
}

fn count(map: &HeaderMap, name: &str) -> usize {
    map.get_all(name).iter().count()
}

pub(super) const REQUEST: Target = Target {
    name: "request_fields",
    what: "fields of a request: nothing hop-by-hop, forged or aliased reaches a service, nothing that matters is lost",
    feed: request,
    words: WORDS,
};

fn request(input: &[u8]) -> String {
    let came = fields(input);
    let mut answer = String::new();
    for has_body in [false, true] {
        let mut map = came.clone();
        if map.get_all(CONTENT_LENGTH).iter().count() > 1 {
            // The HTTP library refuses these before the rules see them.
            continue;
        }
        match headers::strip_request(&mut map, has_body) {
            Ok(()) => answer.push_str("ok; "),
            Err(error) => {
                answer.push_str(&format!("{error:?}; "));
                continue;
            }
        }
        headers::join_crumbs(&mut map);
        headers::settle_host(&mut map, None, "fed_service");
        let id = request_id::settle(&mut map, &mut fastrand::Rng::with_seed(1));
        Peer::new("192.0.2.7:1234".parse().expect("an address"), false, &[]).tell(&mut map);
        hop_by_hop(&map, has_body);
        told_by_us(&map, &id);
        kept(&came, &map);
    }
    grpc::timeout(&came);
    answer
}

fn hop_by_hop(map: &HeaderMap, has_body: bool) {
    for name in map.keys().map(HeaderName::as_str).filter(|name| is_for_one_hop(name)) {
        match name {
            "te" => assert!(map.get_all(TE).iter().all(|value| value == "trailers"), "TE {map:?}"),
            "transfer-encoding" => {
                assert!(has_body && !map.contains_key(CONTENT_LENGTH), "two framings: {map:?}");
                assert!(map.get_all(TRANSFER_ENCODING).iter().all(|value| value == "chunked"), "{map:?}");
                assert_eq!(count(map, name), 1, "{map:?}");
            }
            other => panic!("{other} reaches the service: {map:?}"),
        }
    }
    if has_body {
        assert!(
            map.contains_key(CONTENT_LENGTH) || map.contains_key(TRANSFER_ENCODING),
            "no framing: {map:?}"
        );
    }
}

fn told_by_us(map: &HeaderMap, id: &HeaderValue) {
    let address = "192.0.2.7";
    assert_eq!(map.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), [address]);
    assert_eq!(map.get_all("x-forwarded-proto").iter().collect::<Vec<_>>(), ["http"]);
    assert_eq!(map.get_all("x-request-id").iter().collect::<Vec<_>>(), [id]);
    assert!(id.as_bytes().iter().all(|b| b.is_ascii_graphic() && *b != b'"'), "{id:?}");
    assert_eq!(count(map, FORWARDED.as_str()), 1, "{map:?}");
    for name in map.keys().map(HeaderName::as_str).filter(|name| is_ours(name)) {
        let made = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id"];
        assert!(made.contains(&name), "{name} of the client reaches the service: {map:?}");
    }
}

/// Whatever `Connection` says, these arrive.
fn kept(came: &HeaderMap, map: &HeaderMap) {
    for name in [AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST] {
        let (before, after): (Vec<_>, Vec<_>) =
            (came.get_all(&name).iter().collect(), map.get_all(&name).iter().collect());
        assert!(before.is_empty() || before == after, "{name} was {before:?} and is {after:?}");
    }
    assert!(!came.contains_key(COOKIE) || count(map, "cookie") == 1, "the cookie is lost, or is in crumbs");
}

pub(super) const RESPONSE: Target = Target {
    name: "response_fields",
    what: "fields of an answer: nothing hop-by-hop reaches a client",
    feed: response,
    words: WORDS,
};

fn response(input: &[u8]) -> String {
    let came = fields(input);
    let mut map = came.clone();
    headers::strip_response(&mut map);
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, TE] {
        assert!(!map.contains_key(&name), "{name} reaches the client: {map:?}");
    }
    for name in ["keep-alive", "proxy-connection"] {
        assert!(!map.contains_key(name), "{name} reaches the client: {map:?}");
    }
    if came.contains_key(TRANSFER_ENCODING) {
        assert!(!map.contains_key(CONTENT_LENGTH), "two framings: {map:?}");
    }
    assert_eq!(count(&came, "set-cookie"), count(&map, "set-cookie"), "a cookie is lost");
    format!("{} left, {}", map.len(), headers::only_chunked(&came))
}

pub(super) const TRAILERS: Target = Target {
    name: "trailer_fields",
    what: "trailers: nothing that frames, routes, authenticates or is ours",
    feed: trailers,
    words: WORDS,
};

fn trailers(input: &[u8]) -> String {
    let came = fields(input);
    let frame = strip_trailers(Frame::<Bytes>::trailers(came.clone()));
    let Ok(map) = frame.into_trailers() else { panic!("trailers became data") };
    for name in map.keys().map(HeaderName::as_str) {
        assert!(!is_ours(name) && !is_for_one_hop(name), "{name}");
        assert!(
            !["content-length", "host", "authorization", "cookie", "set-cookie"].contains(&name),
            "{name}"
        );
    }
    assert_eq!(count(&came, "grpc-status"), count(&map, "grpc-status"), "gRPC's trailers pass");
    format!("{} of {} left", map.len(), came.len())
}
