//! The table is swapped under live traffic again and again: no request fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

/// Each is one registration and one removal: two swaps.
const ROUNDS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_instances_come_and_go() {
    let registry = Registry::start().await;
    let (stays, comes_and_goes) = (Stub::start("stays").await, Stub::start("comes_and_goes").await);
    registry.put("busy_service", "stays", &stays.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    let load = Load::start(gateway.address, "/v2/busy_service/x", 8);
    for round in 0..ROUNDS {
        let registered = registry.put("busy_service", "comes_and_goes", &comes_and_goes.url()).await;
        // Other services change, too: their swaps must not touch this one.
        registry.put(&format!("other_service_{round}"), "one", &comes_and_goes.url()).await;
        load.goes_on(50).await;
        registry.delete("busy_service", "comes_and_goes", &registered).await;
        load.goes_on(50).await;
    }
    let report = load.stop().await;
    report.assert_none_failed();
    assert!(report.answers.contains_key("comes_and_goes"), "the swaps were seen: {report:?}");
    assert!(report.answers.contains_key("stays"), "{report:?}");
}
