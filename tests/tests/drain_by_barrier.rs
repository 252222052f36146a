//! A sidecar that is told to stop: the gateways first, then the registry, and no request to the instance after that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;

use futures_util::future::join_all;
use vertice_tests::http;
use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, sidecar_environment, start_sidecar};
use vertice_tests::wait::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_barrier_no_request_reaches_the_instance_and_none_fails() {
    let registry = Registry::start().await;
    let (stays, stops) = (Stub::start("stays").await, Stub::start("stops").await);
    registry.put("pair_service", "stays", &stays.url()).await;
    let sidecar = start_sidecar(&sidecar_environment("pair_service", stops.address(), &registry.url()));
    let gateway = Gateway::start(&registry.url()).await;
    gateway.routes_to("pair_service", "stops", PATIENCE).await;
    let load = Load::start(gateway.address, "/v2/pair_service/x", 8);
    load.goes_on(500).await;
    // Some are under way while the instance drains: they are finished, not cut.
    let held = tokio::spawn(hold(gateway.address));
    stops.held(1).await;

    let ended = sidecar.stop().await;
    let reached = stops.requests();
    assert!(ended.status.success());
    let (drained, deregistered) =
        (ended.text.find("drained: no gateway sends"), ended.text.find("deregistered"));
    assert!(drained.is_some() && drained < deregistered, "{}", ended.text);
    assert!(ended.text.contains("gateways=1"), "{}", ended.text);
    load.goes_on(2_000).await;
    assert_eq!(stops.requests(), reached, "requests after the goodbye");
    stays.release();
    stops.release();
    held.await.unwrap();
    load.stop().await.assert_none_failed();
    let left = http::get(registry.address, "/services/pair_service").await.json();
    assert_eq!(left["instances"].as_array().unwrap().len(), 1);
}

/// Requests that are held by both instances; each must be answered in the end.
async fn hold(gateway: SocketAddr) {
    for answer in join_all((0..16).map(|_| http::get(gateway, "/v2/pair_service/stub/hold"))).await {
        assert_eq!(answer.status, 200);
    }
}
