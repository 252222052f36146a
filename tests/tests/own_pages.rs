//! What the gateway tells of itself: to clients as the original did, and to operators on the admin listener.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::get;
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

async fn system() -> (Stub, Registry, Gateway) {
    let stub = Stub::start("osint").await;
    let registry = Registry::start().await;
    registry.put("osint_service", "osint:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    (stub, registry, gateway)
}

#[tokio::test]
async fn health_status_and_health_checks_have_the_fields_that_clients_read() {
    let (stub, _registry, gateway) = system().await;
    let health = gateway.get("/health").await;
    assert_eq!(health.status, 200);
    assert!(health.json()["status"].is_string(), "{health:?}");

    let status = gateway.get("/gateway/status").await;
    assert_eq!(status.status, 200);
    for field in ["gateway", "version", "circuit_breaker", "service_discovery_cache"] {
        assert!(!status.json()[field].is_null(), "{field}: {status:?}");
    }

    let target = "/gateway/health-check/osint_service";
    let check = gateway.get(target).await;
    assert_eq!(check.status, 200);
    let fields = [
        "service_name",
        "service_url",
        "healthy",
        "status_code",
        "response_time_ms",
        "cached",
        "cache_layer",
        "timestamp",
    ];
    let told = check.json();
    for field in fields {
        assert!(told.get(field).is_some(), "{field}: {told}");
    }
    assert_eq!((told["healthy"].as_bool(), told["status_code"].as_u64()), (Some(true), Some(200)));
    assert!(stub.health_checks() > 0);
    stub.set_health(500);
    assert_eq!(gateway.get(target).await.json()["healthy"], false);
}

#[tokio::test]
async fn operators_see_services_endpoints_and_the_table() {
    let (stub, _registry, gateway) = system().await;
    assert_eq!(get(gateway.admin, "/live").await.status, 200);
    assert_eq!(get(gateway.admin, "/ready").await.status, 200);
    gateway.get("/v2/osint_service/x").await;
    for page in ["/services", "/table"] {
        let page = get(gateway.admin, page).await;
        assert_eq!(page.status, 200);
        assert!(page.json().to_string().contains("osint_service"), "{page:?}");
    }
    let services = get(gateway.admin, "/services").await.text();
    assert!(services.contains(&stub.address().to_string()), "{services}");
    let metrics = get(gateway.admin, "/metrics").await;
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    // The admin pages are not for clients.
    for page in ["/services", "/table", "/metrics", "/ready"] {
        assert_eq!(gateway.get(page).await.status, 404, "{page}");
    }
}

#[tokio::test]
async fn explain_tells_which_route_why_and_where_to() {
    let (stub, _registry, gateway) = system().await;
    let admin = gateway.admin.to_string();
    let arguments = ["explain", "--admin", &admin, "GET", "http://host/v2/osint_service/x", "-H", "k: v"];
    let ended = Program::run("vertice-gateway", &arguments, &[]).await;
    assert!(ended.status.success(), "{ended:?}");
    for word in ["osint_service", &stub.address().to_string()] {
        assert!(ended.text.contains(word), "{word}: {}", ended.text);
    }
}
