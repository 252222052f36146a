//! IPv6 on both sides: clients come in at it, services are reached at it, and services are told of such a client by the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::json;
use vertice_tests::http::raw_to_end;
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::PATIENCE;

/// A gateway at `listen`; the echo service is at ::1, as the registry knows or else the environment.
async fn system(listen: &str, registered: bool) -> (Stub, Registry, Gateway) {
    let stub = Stub::start_at("echo", "[::1]:0").await;
    let registry = Registry::start_at("[::1]:0").await;
    let (registry_url, url) = (registry.url(), stub.url());
    let mut environment = vec![("ECHO_SERVICE_URL", &*url)];
    if registered {
        registry.put("echo_service", "echo:1", &url).await;
        environment.clear();
    }
    let arguments = ["run", "--listen", listen, "--admin", "[::1]:0", "--registry", &registry_url];
    let gateway = Gateway::started(Program::start("vertice-gateway", &arguments, &environment)).await;
    gateway.ready().await;
    (stub, registry, gateway)
}

#[tokio::test]
async fn a_client_a_service_and_a_registry_at_ipv6_addresses_work_as_any_other() {
    let (stub, _registry, gateway) = system("[::1]:0", true).await;
    assert!(gateway.address.is_ipv6() && stub.url().starts_with("http://[::1]:"), "{gateway:?}");
    gateway.judges("echo_service", "echo:1", "good", PATIENCE).await;

    let host = gateway.address.to_string();
    let answer = gateway.get("/v2/echo_service/x").await.json();
    let told = |name: &str| {
        let fields = answer["headers"].as_array().unwrap();
        let values: Vec<_> = fields.iter().filter(|field| field[0] == name).map(|field| &field[1]).collect();
        json!(values)
    };
    assert_eq!(told("host"), json!([host]));
    assert_eq!(told("x-forwarded-for"), json!(["::1"]));
    assert_eq!(told("x-forwarded-host"), json!([host]));
    // RFC 7239 6: brackets and colons only inside quotes.
    assert_eq!(told("forwarded"), json!([format!("for=\"[::1]\";proto=http;host=\"{host}\"")]));
}

#[tokio::test]
async fn an_ipv4_client_at_a_socket_for_both_is_told_as_one() {
    let (_stub, _registry, gateway) = system("[::]:0", false).await;
    let address = ([127, 0, 0, 1], gateway.address.port()).into();
    let request = b"GET /v2/echo_service/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = raw_to_end(address, request).await;
    assert!(answer.contains("[\"x-forwarded-for\",\"127.0.0.1\"]"), "{answer}");
    assert!(answer.contains("for=127.0.0.1;proto=http;host="), "{answer}");
}
