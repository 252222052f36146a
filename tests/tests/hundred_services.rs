//! Today's fleet: all 100 services that have a sidecar register through 100 real sidecars, and each answers by its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use futures_util::future::join_all;
use vertice_tests::inventory::with_sidecar;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, sidecar_environment, start_sidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hundred_are_routed_by_name() {
    let fleet = with_sidecar();
    assert_eq!(fleet.len(), 100);
    let registry = Registry::start().await;
    let gateway = Gateway::start(&registry.url()).await;
    let stubs =
        join_all(fleet.iter().map(|service| Stub::with_health_path(&service.name, &service.health_endpoint)))
            .await;
    let sidecars: Vec<_> = fleet
        .iter()
        .zip(&stubs)
        .map(|(service, stub)| {
            let mut environment = sidecar_environment(&service.name, stub.address(), &registry.url());
            environment.push(("SERVICE_HEALTH_ENDPOINT", service.health_endpoint.clone()));
            start_sidecar(&environment)
        })
        .collect();
    for service in &fleet {
        // A hundred programs share two cores at their start; the promise of one second is another test's.
        gateway.routes_to(&service.name, &service.name, Duration::from_mins(1)).await;
    }
    for (service, stub) in fleet.iter().zip(&stubs) {
        assert!(stub.health_checks() >= 1, "{} was asked at {}", service.name, service.health_endpoint);
    }
    drop(sidecars);
}
