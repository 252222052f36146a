//! An endpoint that fails faster than the others answer looks idle; it must not draw the requests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_left_out_and_comes_back_after_a_trial() {
    let registry = Registry::start().await;
    let stubs = [Stub::start("slow-1").await, Stub::start("slow-2").await, Stub::start("fails-fast").await];
    let [slow_1, slow_2, fails] = &stubs;
    for slow in [slow_1, slow_2] {
        slow.answer_after(Duration::from_millis(50));
    }
    // Its health page goes on saying that all is well.
    fails.answer_all_with(503);
    for (stub, instance) in stubs.iter().zip(["slow-1", "slow-2", "fails-fast"]) {
        registry.put("some_service", instance, &stub.url()).await;
    }
    let gateway = Gateway::start(&registry.url()).await;
    let load = Load::start(gateway.address, "/v2/some_service/x", 16);
    gateway.judges("some_service", "fails-fast", "ejected", PATIENCE).await;
    let drawn = fails.requests();
    assert!(drawn < 100, "{drawn} requests went to it before it was left out");
    // Less than the ten seconds that it stays out.
    load.goes_on(500).await;
    assert!(fails.requests() <= drawn + 16, "{} more requests", fails.requests() - drawn);

    fails.answer_all_with(0);
    gateway.judges("some_service", "fails-fast", "good", PATIENCE).await;
    eventually(PATIENCE, "it gets its share", async || (fails.requests() > drawn + 100).then_some(())).await;
    let report = load.stop().await;
    assert!(report.failed <= drawn + 16, "{report:?}");
}
