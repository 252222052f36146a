//! Services whose metadata say `protocol = h2c` are spoken to in HTTP/2, whatever the client speaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_tests::echo;
use vertice_tests::http::{Connection, request};
use vertice_tests::http2::{self, whole};
use vertice_tests::stub::Stub;
use vertice_tests::wait::PATIENCE;

#[tokio::test]
async fn a_client_of_http1_reaches_a_service_of_http2() {
    let (_stub, _registry, gateway) = echo::http2().await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let headers =
        [("te", "trailers, gzip"), ("connection", "x-hop"), ("x-hop", "1"), ("host", "front.test:81")];
    let answer = client.send(request("PATCH", "/v2/echo_service/p%2Fq?x=1", &headers, "body")).await.unwrap();
    let echoed = answer.json();
    assert_eq!((&echoed["version"], &echoed["method"]), (&"HTTP/2.0".into(), &"PATCH".into()));
    assert_eq!(echoed["target"], "http://front.test:81/p%2Fq?x=1", "Host is :authority");
    assert_eq!(echo::seen(&echoed, "host"), [""; 0], "and is not said twice");
    assert_eq!((echo::seen(&echoed, "te"), echo::seen(&echoed, "x-hop")), (vec!["trailers"], vec![]));
    assert_eq!((&echoed["body"], echo::seen(&echoed, "transfer-encoding")), (&"body".into(), vec![]));
    let upload = request("POST", "/v2/echo_service/stub/count", &[], vec![0; 3_000_000]);
    assert_eq!(client.send(upload).await.unwrap().text(), "3000000");
}

#[tokio::test]
async fn trailers_pass_from_end_to_end() {
    let (_stub, _registry, gateway) = echo::http2().await;
    let mut client = http2::Connection::open(gateway.address).await.unwrap();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let head = client.begin(request("POST", "/v2/echo_service/stub/trailers", &headers, "x")).await.unwrap();
    let (answer, trailers) = whole(head).await.unwrap();
    assert_eq!(answer.text(), "first");
    assert!(trailers["grpc-status"] == "0" && trailers["x-sum"] == "5", "{trailers:?}");
}

#[tokio::test]
async fn a_burst_shares_connections_and_beyond_what_one_takes_there_is_another() {
    let (stub, _registry, gateway) = echo::http2().await;
    let before = stub.connections();
    let client = http2::Connection::open(gateway.address).await.unwrap();
    let held: Vec<_> = (0..50)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(
                async move { client.send(request("GET", "/v2/echo_service/stub/hold", &[], "")).await },
            )
        })
        .collect();
    // The stub takes 20 streams per connection.
    stub.held(50).await;
    stub.release();
    for held in held {
        assert_eq!(held.await.unwrap().unwrap().status, 200);
    }
    // Health checks have connections of their own.
    let opened = stub.connections() - before;
    assert!((3..20).contains(&opened), "{opened}");
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_stream_alone() {
    let (stub, _registry, gateway) = echo::http2().await;
    let mut leaving = http2::Connection::open(gateway.address).await.unwrap();
    let left =
        tokio::spawn(
            async move { leaving.send(request("GET", "/v2/echo_service/stub/hold", &[], "")).await },
        );
    stub.held(1).await;
    left.abort();
    let mut client = http2::Connection::open(gateway.address).await.unwrap();
    assert_eq!(client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap().status, 200);
}

#[tokio::test]
async fn health_is_asked_in_the_same_protocol() {
    let (stub, _registry, gateway) = echo::http2().await;
    gateway.judges("echo_service", "echo:1", "good", PATIENCE).await;
    stub.set_health(500);
    gateway.judges("echo_service", "echo:1", "failing", PATIENCE).await;
}

#[tokio::test]
async fn the_deadline_of_a_grpc_client_bounds_the_call() {
    let (_stub, _registry, gateway) = echo::http2().await;
    let mut client = http2::Connection::open(gateway.address).await.unwrap();
    let headers = [("content-type", "application/grpc"), ("grpc-timeout", "200m")];
    let answer = client.send(request("POST", "/v2/echo_service/stub/hold", &headers, "")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("4")));
}

#[tokio::test]
async fn an_endpoint_that_dies_is_replaced_by_another_for_what_may_be_repeated() {
    let (stub, registry, gateway) = echo::http2().await;
    let other = Stub::start("other").await;
    let mut client = http2::Connection::open(gateway.address).await.unwrap();
    assert_eq!(
        client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap().json()["stub"],
        "echo"
    );
    // One that speaks HTTP/1.1: the request is put back into its form.
    registry.put("echo_service", "other:1", &other.url()).await;
    drop(stub);
    gateway.routes_to("echo_service", "other", Duration::from_secs(10)).await;
    for _ in 0..20 {
        let answer = client.send(request("GET", "/v2/echo_service/y?z=1", &[], "")).await.unwrap();
        assert_eq!((&answer.json()["stub"], &answer.json()["target"]), (&"other".into(), &"/y?z=1".into()));
    }
}
