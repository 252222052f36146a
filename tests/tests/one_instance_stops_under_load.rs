//! One of two instances stops under load, without a word to the registry: no request fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_instance_takes_over() {
    let registry = Registry::start().await;
    let (stays, stops) = (Stub::start("stays").await, Stub::start("stops").await);
    registry.put("pair_service", "stays", &stays.url()).await;
    registry.put("pair_service", "stops", &stops.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    let load = Load::start(gateway.address, "/v2/pair_service/x", 8);
    load.goes_on(500).await;
    assert!(stops.requests() > 0, "both are used");
    stops.stop().await;
    load.goes_on(2_000).await;
    load.stop().await.assert_none_failed();
}
