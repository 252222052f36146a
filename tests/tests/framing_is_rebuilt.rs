//! Framing and trailers are never copied from one side to the other, and an early answer is not lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{raw_to_end, request, send};
use vertice_tests::scripted::Scripted;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually};

const END_OF_HEAD: &str = "\r\n\r\n";

/// The gateway, in front of a service that is `endpoint` alone.
async fn before(endpoint: &Scripted) -> (Registry, Gateway) {
    let registry = Registry::start().await;
    registry.put("odd_service", "odd:1", &endpoint.url).await;
    let gateway = Gateway::start(&registry.url()).await;
    (registry, gateway)
}

#[tokio::test]
async fn an_answer_with_a_length_and_chunked_is_framed_by_its_chunks() {
    let endpoint = Scripted::start(
        END_OF_HEAD,
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    )
    .await;
    let (_registry, gateway) = before(&endpoint).await;
    let answer = gateway.get("/v2/odd_service/x").await;
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("0123456789", None));
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_is_refused_on_both_sides() {
    let endpoint = Scripted::start(
        END_OF_HEAD,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    let (_registry, gateway) = before(&endpoint).await;
    assert_eq!(gateway.get("/v2/odd_service/x").await.status, 502);
    let refused = raw_to_end(
        gateway.address,
        b"POST /v2/odd_service/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert!(refused.starts_with("HTTP/1.1 501 "), "{refused}");
    assert_eq!(endpoint.requests().len(), 1, "the refused request reached the service");
}

#[tokio::test]
async fn trailers_pass_but_cannot_claim_who_asked() {
    let endpoint = Scripted::start("x-sum: 7\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (_registry, gateway) = before(&endpoint).await;
    let answer = raw_to_end(
        gateway.address,
        b"POST /v2/odd_service/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-forwarded-for, x-sum\r\n\r\n3\r\nabc\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let came = endpoint.requests().remove(0);
    assert!(came.contains("x-sum: 7") && !came.contains("6.6.6.6"), "{came}");
}

#[tokio::test]
async fn an_upload_that_is_refused_before_its_end_gets_the_refusal() {
    let endpoint = Scripted::start(
        END_OF_HEAD,
        "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig!",
    )
    .await;
    let (_registry, gateway) = before(&endpoint).await;
    let body = "x".repeat(4_000_000);
    for _ in 0..10 {
        let answer = send(gateway.address, request("POST", "/v2/odd_service/x", &[], body.clone())).await;
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert_ne!(gateway.health_of("odd_service", "odd:1").await["verdict"], "ejected", "it did nothing wrong");
}

#[tokio::test]
async fn a_request_that_comes_back_is_told_so_and_goes_around_no_further() {
    let registry = Registry::start().await;
    let (first, second) = (Gateway::start(&registry.url()).await, Gateway::start(&registry.url()).await);
    for (id, gateway) in [("first:1", &first), ("second:1", &second)] {
        registry.put("loop_service", id, &format!("http://{}/v2/loop_service", gateway.address)).await;
    }
    // Each refuses its own address and asks the other; the one that was asked first knows its signature.
    eventually(PATIENCE, "both know the service", async || {
        let known = async |gateway: &Gateway| gateway.get("/v2/loop_service/x").await.status != 503;
        (known(&first).await && known(&second).await).then_some(())
    })
    .await;
    let answer = first.get("/v2/loop_service/x").await;
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (508, Some("loop")), "{answer:?}");
}
