//! Each gateway writes an entry into the registry and waits for it to come back over the watch: the watch is proven alive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};
use vertice_tests::http::get;
use vertice_tests::system::{Gateway, Registry, TOKEN};
use vertice_tests::wait::{PATIENCE, eventually};

async fn canary(gateway: &Gateway) -> Value {
    gateway.get("/gateway/status").await.json()["registry"]["canary"].clone()
}

async fn becomes(gateway: &Gateway, state: &str) -> Value {
    eventually(PATIENCE, &format!("the canary is {state}"), async || {
        let canary = canary(gateway).await;
        (canary["state"] == state).then_some(canary)
    })
    .await
}

#[tokio::test]
async fn the_watch_is_proven_and_nobody_is_routed_to_the_canary() {
    let registry = Registry::start().await;
    let gateway = Gateway::start_with(&registry.url(), &[], &[("VERTICE_REGISTRY_TOKEN", TOKEN)]).await;
    let shown = becomes(&gateway, "proven").await;
    assert!(shown["round_trip_seconds"].as_f64().unwrap() < 5.0, "{shown}");
    assert_eq!(shown["deaf"], 0);
    assert_eq!(get(registry.address, "/services").await.json(), json!(["vertice-canary"]));
    assert_eq!(
        get(registry.address, "/services/vertice-canary").await.status,
        404,
        "it never takes requests"
    );
    assert_eq!(gateway.get("/v2/vertice-canary/x").await.status, 503);
    for page in ["/services", "/table", "/holds"] {
        assert!(!get(gateway.admin, page).await.text().contains("vertice-canary"), "{page}");
    }
    assert!(get(gateway.admin, "/metrics").await.text().contains("vertice_gateway_canary_lost_total 0"));

    gateway.program.stop().await;
    assert_eq!(get(registry.address, "/services").await.json(), json!([]), "it says goodbye");
}

#[tokio::test]
async fn a_registry_that_refuses_it_is_told_once_and_watched_on() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    becomes(&gateway, "refused").await;
    let stub = vertice_tests::stub::Stub::start("stub").await;
    registry.put("some_service", "some:1", &stub.url()).await;
    gateway.routes_to("some_service", "stub", PATIENCE).await;
    assert_eq!(gateway.program.text().matches("write its canary").count(), 1);
}
