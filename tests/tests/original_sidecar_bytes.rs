//! The original sidecar's messages, byte for byte as its HTTP library writes them, are understood by our registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;
use vertice_tests::http::raw_to_end;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN};

/// What python-httpx 0.27.0 writes for one POST: its own headers, the agent's, and JSON with spaces.
fn posted(path: &str, token: &str, body: &str) -> String {
    // The original asks for keep-alive; the end of the answer is easier to see with close.
    format!(
        "POST {path} HTTP/1.1\r\nHost: vertice-register-lb\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n\
         Connection: close\r\nUser-Agent: python-httpx/0.27.0\r\nX-Registry-Token: {token}\r\n\
         Content-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn register_and_heartbeat_are_accepted_and_routed() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    let stub = Stub::start("osint").await;
    let endpoint = stub.url();
    let body = format!(
        r#"{{"service_name": "osint_service", "endpoint": "{endpoint}", "health_endpoint": "/health", "metadata": {{"version": "1.0.0", "status": "healthy"}}}}"#
    );
    let answer = raw_to_end(registry.address, posted("/register", TOKEN, &body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    // The original dies of a success whose body is not JSON.
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(json["message"].is_string() && json["service_name"] == "osint_service", "{json}");

    let beat = posted("/heartbeat", TOKEN, r#"{"service_name": "osint_service"}"#);
    let answer = raw_to_end(registry.address, beat.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.routes_to("osint_service", "osint", Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_heartbeat_of_an_unknown_name_is_404_which_is_what_makes_it_register_again() {
    let registry = Registry::start().await;
    let beat = posted("/heartbeat", TOKEN, r#"{"service_name": "osint_service"}"#);
    let answer = raw_to_end(registry.address, beat.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn values_that_the_original_passes_unconverted_are_accepted() {
    let registry = Registry::start().await;
    let body = r#"{"service_name": "osint_service", "endpoint": "http://127.0.0.1:8036", "health_endpoint": "/health", "metadata": {"version": 2.1, "status": null}}"#;
    let answer = raw_to_end(registry.address, posted("/register", TOKEN, body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}
