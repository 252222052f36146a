//! The main job: a service registers, and the gateway routes to it by its name within a second.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, sidecar_environment, start_sidecar};
use vertice_tests::wait::within;

/// What is promised to whoever registers.
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn one_put_and_the_service_is_routed() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    assert_eq!(gateway.get("/v2/osint_service/ping").await.status, 503, "nobody is there yet");
    let stub = Stub::start("osint").await;
    registry.put("osint_service", "osint:1", &stub.url()).await;
    gateway.routes_to("osint_service", "osint", VISIBLE_WITHIN).await;
}

#[tokio::test]
async fn one_old_post_and_the_service_is_routed() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    let first = Stub::start("first").await;
    registry.post("osint_service", &first.url()).await;
    gateway.routes_to("osint_service", "first", VISIBLE_WITHIN).await;
    // The old call knows one endpoint per name: the second replaces the first.
    let second = Stub::start("second").await;
    registry.post("osint_service", &second.url()).await;
    gateway.routes_to("osint_service", "second", VISIBLE_WITHIN).await;
    let before = first.requests();
    for _ in 0..20 {
        assert_eq!(gateway.get("/v2/osint_service/ping").await.json()["stub"], "second");
    }
    assert_eq!(first.requests(), before);
}

#[tokio::test]
async fn what_is_registered_before_the_gateway_starts_is_routed_once_it_is_ready() {
    let registry = Registry::start().await;
    let stub = Stub::start("early").await;
    registry.put("early_service", "early:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    assert_eq!(gateway.get("/v2/early_service/ping").await.status, 200);
}

#[tokio::test]
async fn both_instances_of_a_service_are_used_and_a_removed_one_is_not() {
    let registry = Registry::start().await;
    let (one, two) = (Stub::start("one").await, Stub::start("two").await);
    registry.put("pair_service", "one", &one.url()).await;
    let registered = registry.put("pair_service", "two", &two.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    gateway.routes_to("pair_service", "one", VISIBLE_WITHIN).await;
    gateway.routes_to("pair_service", "two", VISIBLE_WITHIN).await;
    registry.delete("pair_service", "two", &registered).await;
    let gone = async {
        // Ten in a row at the other are one in a thousand by chance; a router that still knows it is found out.
        let mut in_a_row = 0;
        while in_a_row < 10 {
            let last = gateway.get("/v2/pair_service/ping").await.json()["stub"] == "one";
            in_a_row = if last { in_a_row + 1 } else { 0 };
        }
    };
    within(VISIBLE_WITHIN, "the removed instance gets nothing", gone).await;
}

#[tokio::test]
async fn a_service_with_a_sidecar_comes_and_goes() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    let stub = Stub::start("beside").await;
    let sidecar = start_sidecar(&sidecar_environment("beside_service", stub.address(), &registry.url()));
    gateway.routes_to("beside_service", "beside", Duration::from_secs(5)).await;
    let ended = sidecar.stop().await;
    assert!(ended.status.success(), "{ended:?}");
    let gone = async { while gateway.get("/v2/beside_service/ping").await.status != 503 {} };
    within(VISIBLE_WITHIN, "a service that has left answers 503", gone).await;
}
