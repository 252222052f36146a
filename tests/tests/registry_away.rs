//! The registry is killed, and comes back knowing nothing: the gateway serves throughout, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_tests::http::get;
use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, sidecar_environment, start_sidecar};
use vertice_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_a_registry_that_forgets_everything() {
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    let (told, beside) = (Stub::start("told").await, Stub::start("beside").await);
    registry.put("told_service", "told:1", &told.url()).await;
    let mut environment = sidecar_environment("beside_service", beside.address(), &registry.url());
    environment.push(("HEARTBEAT_INTERVAL", "1".to_owned()));
    let _sidecar = start_sidecar(&environment);
    gateway.routes_to("told_service", "told", PATIENCE).await;
    gateway.routes_to("beside_service", "beside", PATIENCE).await;

    let loads =
        ["told", "beside"].map(|name| Load::start(gateway.address, &format!("/v2/{name}_service/x"), 2));
    let address = registry.address;
    registry.program.kill().await;
    for load in &loads {
        load.goes_on(500).await;
    }

    let registry = Registry::start_at(&address.to_string()).await;
    // The sidecar comes back by itself; nobody tells the registry of the other service.
    eventually(PATIENCE, "the sidecar registers again", async || {
        (get(registry.address, "/services/beside_service").await.status == 200).then_some(())
    })
    .await;
    // New registrations are seen: the gateway has found the registry again, with its empty list.
    let new = Stub::start("new").await;
    registry.put("new_service", "new:1", &new.url()).await;
    gateway.routes_to("new_service", "new", PATIENCE).await;
    for load in loads {
        load.goes_on(500).await;
        load.stop().await.assert_none_failed();
    }
}

#[tokio::test]
async fn a_gateway_that_starts_without_a_registry_is_not_ready_and_becomes_so() {
    let registry = Registry::start().await;
    let address = registry.address;
    registry.program.kill().await;
    let gateway = Gateway::start_unready(&format!("http://{address}"), &[], &[]).await;
    assert_eq!(get(gateway.admin, "/live").await.status, 200);
    assert_eq!(get(gateway.admin, "/ready").await.status, 503);
    let registry = Registry::start_at(&address.to_string()).await;
    gateway.ready().await;
    let stub = Stub::start("late").await;
    registry.put("late_service", "late:1", &stub.url()).await;
    gateway.routes_to("late_service", "late", Duration::from_secs(5)).await;
}
