//! A registered endpoint that is not there: out within five seconds, and no client notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use vertice_tests::http;
use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN_HEADER};
use vertice_tests::wait::PATIENCE;

/// The promise.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// An address where connections are taken by the kernel and nobody ever answers.
async fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_ones_are_found_and_cost_nobody_an_error_while_another_lives() {
    let registry = Registry::start().await;
    let lives = Stub::start("lives").await;
    registry.put("some_service", "lives", &lives.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    let load = Load::start(gateway.address, "/v2/some_service/x", 4);
    load.goes_on(100).await;
    let (_silence, silent) = silence().await;
    registry.put("some_service", "refuses", &format!("http://{}", nobody().await)).await;
    registry.put("some_service", "hangs", &silent).await;
    gateway.judges("some_service", "refuses", "failing", FOUND_WITHIN).await;
    gateway.judges("some_service", "hangs", "failing", FOUND_WITHIN).await;
    load.goes_on(500).await;
    load.stop().await.assert_none_failed();
    let health = gateway.health_of("some_service", "refuses").await;
    assert_eq!(health["last_check"]["result"], "refused", "{health}");
    assert_eq!(health["share_percent"], 0, "{health}");
    assert_eq!(gateway.health_of("some_service", "hangs").await["last_check"]["result"], "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_there_at_the_start_of_the_gateway_is_found_too() {
    let registry = Registry::start().await;
    let lives = Stub::start("lives").await;
    registry.put("some_service", "lives", &lives.url()).await;
    registry.put("some_service", "dead", &format!("http://{}", nobody().await)).await;
    let gateway = Gateway::start(&registry.url()).await;
    let load = Load::start(gateway.address, "/v2/some_service/x", 4);
    gateway.judges("some_service", "dead", "failing", FOUND_WITHIN).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_dead_they_are_still_tried() {
    let registry = Registry::start().await;
    registry.put("dead_service", "a", &format!("http://{}", nobody().await)).await;
    registry.put("dead_service", "b", &format!("http://{}", nobody().await)).await;
    let gateway = Gateway::start(&registry.url()).await;
    for instance in ["a", "b"] {
        gateway.judges("dead_service", instance, "failing", FOUND_WITHIN).await;
    }
    let answer = gateway.get("/v2/dead_service/x").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-vertice-reason")), (502, Some("connect_failed")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_connection_is_all_that_is_asked_for_silence_is_healthy() {
    let registry = Registry::start().await;
    let lives = Stub::start("lives").await;
    registry.put("some_service", "lives", &lives.url()).await;
    let (_silence, url) = silence().await;
    let body = json!({ "url": url, "ttl": 3600, "metadata": { "health": "tcp" } });
    let target = "/v1/services/some_service/instances/silent";
    let put = http::send_json(registry.address, "PUT", target, &[TOKEN_HEADER], &body).await;
    assert!(put.status.is_success(), "{put:?}");
    let gateway = Gateway::start(&registry.url()).await;
    gateway.judges("some_service", "silent", "good", PATIENCE).await;
}
