//! Bad input to the registry: a clear error that names the field, and nothing lost of what worked before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use vertice_tests::http::{Answer, get, request, send, send_json, try_send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN_HEADER, sidecar_environment, start_sidecar};

/// Whether the `detail` of a 422 names `field`.
fn names_field(answer: &Answer, field: &str) -> bool {
    let body = answer.json();
    let details = body["detail"].as_array().map(Vec::as_slice).unwrap_or_default();
    details.iter().any(|detail| {
        let loc = detail["loc"].as_array().unwrap();
        loc.iter().any(|part| part == field) && detail["msg"].as_str().is_some_and(|msg| !msg.is_empty())
    })
}

/// A registry with one service that works, and a gateway that routes to it.
async fn system() -> (Stub, Registry, Gateway) {
    let stub = Stub::start("works").await;
    let registry = Registry::start().await;
    registry.put("works_service", "works:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    gateway.routes_to("works_service", "works", Duration::from_secs(5)).await;
    (stub, registry, gateway)
}

/// Everything that worked works, and nothing has come in.
async fn assert_unharmed(registry: &Registry, gateway: &Gateway) {
    assert_eq!(get(registry.address, "/services").await.json(), json!(["works_service"]));
    assert_eq!(gateway.get("/v2/works_service/x").await.status, 200);
}

#[tokio::test]
async fn malformed_json() {
    let (_stub, registry, gateway) = system().await;
    let headers = [TOKEN_HEADER, ("content-type", "application/json")];
    for (method, target) in [
        ("POST", "/register"),
        ("PUT", "/v1/services/a_service/instances/a"),
        ("POST", "/heartbeat"),
        ("POST", "/v1/heartbeats"),
    ] {
        for body in ["", "{", "[]", "7", "null", "\u{0}", "{\"service_name\":"] {
            let answer = send(registry.address, request(method, target, &headers, body)).await;
            assert_eq!(answer.status, 422, "{method} {target} {body:?}: {answer:?}");
            assert!(!answer.json()["detail"].is_null());
        }
    }
    assert_unharmed(&registry, &gateway).await;
}

#[tokio::test]
async fn wrong_types_and_values_out_of_rule_name_every_field() {
    let (_stub, registry, gateway) = system().await;
    let body = json!({ "service_name": "Not A Name", "endpoint": 7, "health_endpoint": "x", "metadata": [], "ttl": -1 });
    let answer = send_json(registry.address, "POST", "/register", &[TOKEN_HEADER], &body).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    for field in ["service_name", "endpoint", "health_endpoint", "metadata", "ttl"] {
        assert!(names_field(&answer, field), "{field}: {answer:?}");
    }
    for url in [
        "not a url",
        "ftp://a:1",
        "http://u:p@a:1",
        "http://a:1?q",
        "http://a:0",
        "",
        &format!("http://{}", "a".repeat(600)),
    ] {
        let body = json!({ "url": url });
        let target = "/v1/services/a_service/instances/a";
        let answer = send_json(registry.address, "PUT", target, &[TOKEN_HEADER], &body).await;
        assert!(answer.status == 422 && names_field(&answer, "url"), "{url}: {answer:?}");
    }
    for target in ["/v1/services/Bad%20Name/instances/a", "/v1/services/a_service/instances/a%2Fb"] {
        let body = json!({ "url": "http://127.0.0.1:1" });
        let answer = send_json(registry.address, "PUT", target, &[TOKEN_HEADER], &body).await;
        assert_eq!(answer.status, 422, "{target}: {answer:?}");
    }
    assert_unharmed(&registry, &gateway).await;
}

#[tokio::test]
async fn bodies_of_ten_megabytes() {
    let (_stub, registry, gateway) = system().await;
    let big = json!({ "service_name": "big_service", "endpoint": "http://127.0.0.1:1", "metadata": { "k": "v".repeat(10_000_000) } });
    for (method, target) in [
        ("POST", "/register"),
        ("PUT", "/v1/services/a_service/instances/a"),
        ("POST", "/heartbeat"),
        ("POST", "/v1/heartbeats"),
    ] {
        let headers = [TOKEN_HEADER, ("content-type", "application/json")];
        // A server that closes early may be faster than the client's last byte: no answer is a refusal, too.
        if let Ok(answer) =
            try_send(registry.address, request(method, target, &headers, big.to_string())).await
        {
            assert_eq!(answer.status, 413, "{method} {target}: {answer:?}");
        }
    }
    assert_unharmed(&registry, &gateway).await;
}

#[tokio::test]
async fn wrong_tokens() {
    let (_stub, registry, gateway) = system().await;
    let body =
        json!({ "service_name": "a_service", "endpoint": "http://127.0.0.1:1", "url": "http://127.0.0.1:1" });
    for headers in [&[][..], &[("x-registry-token", "wrong")], &[("x-registry-token", "")]] {
        for (method, target) in [
            ("POST", "/register"),
            ("PUT", "/v1/services/a_service/instances/a"),
            ("POST", "/heartbeat"),
            ("DELETE", "/deregister/works_service"),
            ("DELETE", "/v1/services/works_service/instances/works:1?generation=1"),
        ] {
            let answer = send_json(registry.address, method, target, headers, &body).await;
            assert_eq!(answer.status, 401, "{method} {target}: {answer:?}");
            assert!(
                answer.json()["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.to_lowercase().contains("token"))
            );
        }
    }
    assert_unharmed(&registry, &gateway).await;
}

#[tokio::test]
async fn old_generations_change_nothing() {
    let (stub, registry, gateway) = system().await;
    let again = registry.put("works_service", "works:1", &stub.url()).await.json();
    let old = again["generation"].as_u64().unwrap() - 1;
    let target = format!("/v1/services/works_service/instances/works:1?generation={old}");
    let answer = send(registry.address, request("DELETE", &target, &[TOKEN_HEADER], "")).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    let answer: Value = get(registry.address, "/services/works_service").await.json();
    assert_eq!(answer["endpoint"], stub.url());
    assert_unharmed(&registry, &gateway).await;
}

#[tokio::test]
async fn a_sidecar_with_a_wrong_token_says_so() {
    let (stub, registry, gateway) = system().await;
    let mut environment = sidecar_environment("other_service", stub.address(), &registry.url());
    environment.retain(|(name, _)| *name != "REGISTRY_AUTH_TOKEN");
    environment.push(("REGISTRY_AUTH_TOKEN", "wrong".to_owned()));
    let mut sidecar = start_sidecar(&environment);
    sidecar
        .line("the token", |line| {
            (line.contains("token") && (line.contains("WARN") || line.contains("ERROR"))).then_some(())
        })
        .await;
    assert_unharmed(&registry, &gateway).await;
}
