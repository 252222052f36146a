//! Methods, targets, headers, statuses and bodies pass through the gateway as they came.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::http::{raw_to_end, request, send, try_send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, within};

const SERVICE: &str = "echo_service";

/// A stub, registered, behind a gateway that knows it.
async fn system() -> (Stub, Registry, Gateway) {
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put(SERVICE, "echo:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    (stub, registry, gateway)
}

/// The values of the header `name` that the stub saw, in their order.
fn seen(echo: &Value, name: &str) -> Vec<String> {
    let headers = echo["headers"].as_array().unwrap().iter();
    let of_name = headers.filter(|pair| pair[0] == name);
    of_name.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_method() {
    let (_stub, _registry, gateway) = system().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = send(gateway.address, request(method, "/v2/echo_service/x", &[], "")).await;
        assert_eq!(answer.json()["method"], method);
    }
    let answer = send(gateway.address, request(Method::HEAD.as_str(), "/v2/echo_service/x", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}

#[tokio::test]
async fn path_and_query_byte_for_byte() {
    let (_stub, _registry, gateway) = system().await;
    for target in [
        "/",
        "/a/b/",
        "/a%2Fb/c%20d/%C3%A9",
        "/a?x=1&x=2&y=&=z&&",
        "/a?",
        "/a?next=http://other/%2e%2e/&q=a+b%20c%zz",
        "/a;v=1/b?u=/v2/other_service/",
        "/v2/echo_service/again",
    ] {
        let head = "Host: gateway.test\r\nConnection: close\r\n";
        let bytes = format!("GET /v2/echo_service{target} HTTP/1.1\r\n{head}\r\n");
        let answer = raw_to_end(gateway.address, bytes.as_bytes()).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{target}: {answer}"));
        let echo: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{target}: {answer}"));
        assert_eq!(echo["target"], target, "{answer}");
    }
}

#[tokio::test]
async fn repeated_headers_in_both_directions() {
    let (_stub, _registry, gateway) = system().await;
    let headers =
        [("x-many", "1"), ("x-many", "2, 3"), ("x-many", "2, 3"), ("cookie", "a=1"), ("x-empty", "")];
    let answer = send(gateway.address, request("GET", "/v2/echo_service/x", &headers, "")).await;
    let echo = answer.json();
    assert_eq!(seen(&echo, "x-many"), ["1", "2, 3", "2, 3"]);
    assert_eq!(seen(&echo, "cookie"), ["a=1"]);
    assert_eq!(seen(&echo, "x-empty"), [""]);

    let answer = send(gateway.address, request("GET", "/v2/echo_service/stub/headers", &[], "")).await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.header("x-plain"), Some("plain"));
    assert_eq!(answer.headers["x-latin"].as_bytes(), "caf\u{e9}".as_bytes());
    assert_eq!(answer.header("x-empty"), Some(""));
    assert_eq!(answer.header("etag"), Some("\"abc\""));
    assert_eq!(answer.header("server"), Some("stub"));
}

#[tokio::test]
async fn every_status_with_its_body() {
    let (_stub, _registry, gateway) = system().await;
    for status in [
        200, 201, 202, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 409, 418, 422, 429, 500, 501, 502,
        503, 504, 599,
    ] {
        let target = format!("/stub/status/{status}");
        let answer = send(gateway.address, request("GET", &format!("/v2/{SERVICE}{target}"), &[], "")).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("x-vertice-reason"), None, "{status} is the service's own word");
        if !matches!(status, 204 | 304) {
            assert_eq!(answer.json()["target"], target, "{status}");
        }
    }
}

#[tokio::test]
async fn bodies_of_any_size_and_framing() {
    let (_stub, _registry, gateway) = system().await;
    for size in [0, 1, 65_536, 10_000_000] {
        let answer =
            send(gateway.address, request("POST", "/v2/echo_service/stub/count", &[], vec![b'x'; size]))
                .await;
        assert_eq!(answer.text(), size.to_string());
    }
    let chunked = "POST /v2/echo_service/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = raw_to_end(gateway.address, chunked.as_bytes()).await;
    assert!(answer.contains(r#""body":"abcde""#), "{answer}");
    let answer = send(gateway.address, request("GET", "/v2/echo_service/stub/chunks/500", &[], "")).await;
    assert_eq!(answer.body.len(), 500_000);
}

#[tokio::test]
async fn a_body_streams_as_it_comes() {
    let (stub, _registry, gateway) = system().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "GET /v2/echo_service/stub/half-then-hold HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    let first = async {
        while !came.ends_with(b"first\r\n") {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0, "{}", String::from_utf8_lossy(&came));
        }
    };
    within(Duration::from_secs(10), "the first half comes although the second does not", first).await;
    stub.release();
    within(PATIENCE, "the second half", stream.read_to_end(&mut came)).await.unwrap();
    assert!(String::from_utf8_lossy(&came).contains("second"));
}

#[tokio::test]
async fn a_body_that_breaks_off_does_not_look_whole() {
    let (_stub, _registry, gateway) = system().await;
    let answer = try_send(gateway.address, request("GET", "/v2/echo_service/stub/cut", &[], "")).await;
    assert!(answer.is_err() || answer.as_ref().is_ok_and(|answer| answer.status == 502), "{answer:?}");
    // And the next client is not harmed by it.
    assert_eq!(gateway.get("/v2/echo_service/x").await.status, 200);
}
