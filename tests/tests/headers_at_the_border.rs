//! What the gateway itself does to headers: hop-by-hop ones end here, who asked is told, every request has an id.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::Value;
use vertice_tests::http::{Answer, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

async fn system() -> (Stub, Registry, Gateway) {
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    (stub, registry, gateway)
}

async fn ask(gateway: &Gateway, headers: &[(&str, &str)]) -> Answer {
    send(gateway.address, request("GET", "/v2/echo_service/x", headers, "")).await
}

fn seen(echo: &Value, name: &str) -> Vec<String> {
    let headers = echo["headers"].as_array().unwrap().iter();
    headers.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn hop_by_hop_headers_do_not_pass() {
    let (_stub, _registry, gateway) = system().await;
    let headers = [
        ("connection", "keep-alive, X-For-This-Hop"),
        ("x-for-this-hop", "secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers, deflate"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("x-for-the-service", "kept"),
    ];
    let echo = ask(&gateway, &headers).await.json();
    for name in ["x-for-this-hop", "keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        assert_eq!(seen(&echo, name), [""; 0], "{name}");
    }
    assert_eq!(seen(&echo, "x-for-the-service"), ["kept"]);

    let answer = send(gateway.address, request("GET", "/v2/echo_service/stub/headers", &[], "")).await;
    for name in ["x-for-this-hop", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn who_asked_is_told_and_cannot_be_made_up() {
    let (_stub, _registry, gateway) = system().await;
    let echo = ask(&gateway, &[("host", "api.example.com")]).await.json();
    assert_eq!(seen(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&echo, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&echo, "x-forwarded-host"), ["api.example.com"]);

    let made_up = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=6.6.6.6;host=evil.example"),
        ("x-real-ip", "6.6.6.6"),
    ];
    let echo = ask(&gateway, &made_up).await.json();
    assert_eq!(seen(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&echo, "x-forwarded-proto"), ["http"]);
    let told = echo["headers"].to_string();
    for lie in ["6.6.6.6", "7.7.7.7", "evil.example"] {
        assert!(!told.contains(lie), "{lie} reached the service: {told}");
    }
}

#[tokio::test]
async fn every_request_has_an_id_that_all_three_see() {
    let (_stub, _registry, gateway) = system().await;
    let answer = ask(&gateway, &[("x-request-id", "chosen-by-the-client")]).await;
    assert_eq!(answer.header("x-request-id"), Some("chosen-by-the-client"));
    assert_eq!(seen(&answer.json(), "x-request-id"), ["chosen-by-the-client"]);

    let (one, two) = (ask(&gateway, &[]).await, ask(&gateway, &[]).await);
    let made = one.header("x-request-id").expect("an id is made where there is none");
    assert_eq!(seen(&one.json(), "x-request-id"), [made]);
    assert_ne!(Some(made), two.header("x-request-id"));

    let own = gateway.get("/nothing/here").await;
    assert!(own.header("x-request-id").is_some(), "also on the gateway's own answers: {own:?}");
}
