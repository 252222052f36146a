//! An endpoint whose health page says 500 goes out, although it takes requests, and comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_and_back_without_a_failed_request() {
    let registry = Registry::start().await;
    let (sound, sick) = (Stub::start("sound").await, Stub::start("sick").await);
    registry.put("some_service", "sound", &sound.url()).await;
    registry.put("some_service", "sick", &sick.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    gateway.judges("some_service", "sick", "good", PATIENCE).await;
    let load = Load::start(gateway.address, "/v2/some_service/x", 4);
    eventually(PATIENCE, "both get requests", async || (sick.requests() > 10).then_some(())).await;

    sick.set_health(500);
    gateway.judges("some_service", "sick", "failing", PATIENCE).await;
    // What was on its way when the verdict fell: at most one request per connection.
    let before = sick.requests();
    load.goes_on(500).await;
    assert!(sick.requests() <= before + 4, "{} requests to a sick endpoint", sick.requests() - before);

    sick.set_health(200);
    gateway.judges("some_service", "sick", "good", PATIENCE).await;
    let before = sick.requests();
    eventually(PATIENCE, "it gets requests again", async || (sick.requests() > before + 10).then_some(()))
        .await;
    load.stop().await.assert_none_failed();
}
