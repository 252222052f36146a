//! The registry forgets: what answers stays and is shown as held, what is dead goes, and an operator can let go by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};
use vertice_tests::http::{get, request, send};
use vertice_tests::load::Load;
use vertice_tests::original_registry::{Call, Fleet, OriginalRegistry};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN};
use vertice_tests::wait::{PATIENCE, eventually};

/// `service reason` of everything that is held.
async fn held(gateway: &Gateway) -> Vec<String> {
    let page = get(gateway.admin, "/holds").await.json();
    let rows = page["holds"].as_array().unwrap();
    rows.iter()
        .map(|row| format!("{} {}", row["service"].as_str().unwrap(), row["reason"].as_str().unwrap()))
        .collect()
}

async fn held_becomes(gateway: &Gateway, wanted: &[&str]) {
    eventually(PATIENCE, &format!("held: {wanted:?}"), async || {
        (held(gateway).await == wanted).then_some(())
    })
    .await;
}

async fn ended(gateway: &Gateway, how: &str) -> Value {
    get(gateway.admin, "/holds").await.json()["ended"][how].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_empty_nothing_that_answers_is_lost_and_the_dead_go() {
    let registry = Registry::start().await;
    let (lives, dies) = (Stub::start("lives").await, Stub::start("dies").await);
    registry.put("lives_service", "lives:1", &lives.url()).await;
    registry.put("dies_service", "dies:1", &dies.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    gateway.routes_to("dies_service", "dies", PATIENCE).await;
    let load = Load::start(gateway.address, "/v2/lives_service/x", 2);
    let address = registry.address;
    registry.program.kill().await;
    load.goes_on(200).await;
    drop(dies);
    let _registry = Registry::start_at(&address.to_string()).await;
    held_becomes(&gateway, &["lives_service new_epoch"]).await;
    assert_eq!(ended(&gateway, "probes_failed").await, 1);
    assert_eq!(gateway.get("/v2/dies_service/x").await.status, 503);
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(metrics.contains("vertice_gateway_holds{reason=\"new_epoch\"} 1"), "{metrics}");
    assert!(metrics.contains("vertice_gateway_holds_ended_total{how=\"probes_failed\"} 1"), "{metrics}");
    load.goes_on(200).await;
    load.stop().await.assert_none_failed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answering_an_empty_list_nothing_that_answers_is_lost_and_the_dead_go() {
    let registry = OriginalRegistry::start(Fleet::new(2, TOKEN)).await;
    let (lives, dies) = (Stub::start("lives").await, Stub::start("dies").await);
    let register = |name: &str, stub: &Stub| {
        let body = json!({ "service_name": name, "endpoint": stub.url() }).to_string();
        registry.call(Call { method: "POST", path: "/register", token: Some(TOKEN), body: body.as_bytes() });
    };
    register("lives_service", &lives);
    register("dies_service", &dies);
    let gateway = Gateway::start_with(&registry.url(), &[], &[("GATEWAY_CACHE_TTL", "0.2")]).await;
    gateway.routes_to("lives_service", "lives", PATIENCE).await;
    gateway.routes_to("dies_service", "dies", PATIENCE).await;
    let load = Load::start(gateway.address, "/v2/lives_service/x", 2);
    registry.fleet(Fleet::flush_redis);
    held_becomes(&gateway, &["dies_service no_history", "lives_service no_history"]).await;
    // Saying it again and again proves nothing more.
    registry.polled(10).await;
    assert_eq!(held(&gateway).await.len(), 2);
    drop(dies);
    held_becomes(&gateway, &["lives_service no_history"]).await;
    registry.polled(10).await;
    load.goes_on(200).await;
    load.stop().await.assert_none_failed();
    register("lives_service", &lives);
    held_becomes(&gateway, &[]).await;
    assert_eq!(ended(&gateway, "named_again").await, 1);
}

async fn release(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> u16 {
    let target = format!("/holds/release?{query}");
    send(gateway.admin, request("POST", &target, headers, "")).await.status.as_u16()
}

#[tokio::test]
async fn an_operator_lets_go_by_hand_and_no_page_in_a_browser_does() {
    let registry = Registry::start().await;
    let stub = Stub::start("old").await;
    for (service, instance) in [("one_service", "a:1"), ("two_service", "b:1"), ("two_service", "b:2")] {
        registry.put(service, instance, &stub.url()).await;
    }
    let gateway = Gateway::start(&registry.url()).await;
    gateway.routes_to("two_service", "old", PATIENCE).await;
    let address = registry.address;
    registry.program.kill().await;
    let _registry = Registry::start_at(&address.to_string()).await;
    let two = "two_service new_epoch";
    held_becomes(&gateway, &["one_service new_epoch", two, two]).await;

    assert_eq!(release(&gateway, "all=true", &[("origin", "http://127.0.0.1")]).await, 403);
    assert_eq!(release(&gateway, "all=true", &[("host", "rebound.example:9901")]).await, 403);
    assert_eq!(get(gateway.admin, "/holds/release?all=true").await.status, 405);
    assert_eq!(release(&gateway, "", &[]).await, 400);
    assert_eq!(release(&gateway, "service=no_service", &[]).await, 404);
    assert_eq!(held(&gateway).await.len(), 3);

    assert_eq!(release(&gateway, "service=two_service&instance=b:1", &[]).await, 200);
    assert_eq!(held(&gateway).await, ["one_service new_epoch", two]);
    assert_eq!(gateway.get("/v2/two_service/x").await.status, 200);
    assert_eq!(release(&gateway, "service=two_service", &[]).await, 200);
    assert_eq!(gateway.get("/v2/two_service/x").await.status, 503);
    assert_eq!(release(&gateway, "all=true", &[]).await, 200);
    assert_eq!(gateway.get("/v2/one_service/x").await.status, 503);
    assert_eq!(ended(&gateway, "released").await, 3);
}
