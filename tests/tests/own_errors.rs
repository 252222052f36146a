//! Errors that the gateway makes itself: the right status, problem+json, an id to ask about, and nothing of the inside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{Answer, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{problem}");
    assert!(answer.header("x-vertice-reason").is_some(), "{answer:?}");
    assert!(!answer.text().contains("127.0.0.1"), "an internal address: {problem}");
}

#[tokio::test]
async fn no_route_is_404() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    for target in ["/nothing", "/", "/v2", "/v3/a_service/x"] {
        assert_problem(&gateway.get(target).await, 404);
    }
}

#[tokio::test]
async fn no_endpoint_is_503() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    assert_problem(&gateway.get("/v2/unheard_of_service/x").await, 503);
    let post = request("POST", "/v2/unheard_of_service/x", &[("content-type", "application/json")], "{}");
    assert_problem(&send(gateway.address, post).await, 503);
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_502_or_503() {
    let registry = Registry::start().await;
    let stub = Stub::start("gone").await;
    registry.put("gone_service", "gone:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    stub.stop().await;
    let answer = gateway.get("/v2/gone_service/x").await;
    assert!(matches!(answer.status.as_u16(), 502 | 503), "{answer:?}");
    assert_problem(&answer, answer.status.as_u16());
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_504() {
    let registry = Registry::start().await;
    let stub = Stub::start("slow").await;
    registry.put("slow_service", "slow:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[timeouts]\nfirst_byte = \"200ms\"\n").unwrap();
    let config = file.path().to_str().unwrap();
    let gateway = Gateway::start_with(&registry.url(), &["--config", config], &[]).await;
    assert_problem(&gateway.get("/v2/slow_service/stub/hold").await, 504);
    assert_eq!(gateway.get("/v2/slow_service/x").await.status, 200, "the service itself is fine");
}
