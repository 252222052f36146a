//! Routes of the configuration file, old names under /v2, and the environment's fall-backs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use vertice_tests::http::{request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::PATIENCE;

const ROUTES: &str = r#"
[[route]]
name = "one-path"
path = "/status"
service = "core_service"

[[route]]
name = "core"
prefix = "/core"
strip_prefix = true
service = "core_service"

[[route]]
name = "core-canary"
prefix = "/core"
headers = { x-canary = "yes" }
service = "other_service"

[[route]]
name = "old-api"
prefix = "/api/v0"
replace_prefix = "/api/v1"
methods = ["GET", "HEAD"]
service = "core_service"

[[route]]
name = "by-host"
host = "*.example.com"
prefix = "/"
service = "other_service"
"#;

#[tokio::test]
async fn host_path_prefix_method_and_header_choose_the_service_and_the_path() {
    let (core, other) = (Stub::start("core").await, Stub::start("other").await);
    let registry = Registry::start().await;
    registry.put("core_service", "core:1", &core.url()).await;
    registry.put("other_service", "other:1", &other.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ROUTES).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    for (method, host, target, canary, expected) in [
        ("GET", "g", "/status", "", Some(("core", "/status"))),
        ("GET", "g", "/status/", "", None),
        ("GET", "g", "/core", "", Some(("core", "/"))),
        ("GET", "g", "/core/a%2Fb?x=1", "", Some(("core", "/a%2Fb?x=1"))),
        ("GET", "g", "/corex", "", None),
        ("GET", "g", "/core/a", "yes", Some(("other", "/core/a"))),
        ("GET", "g", "/core/a", "no", Some(("core", "/a"))),
        ("GET", "g", "/api/v0/x", "", Some(("core", "/api/v1/x"))),
        ("POST", "g", "/api/v0/x", "", None),
        ("GET", "a.b.example.com", "/anything", "", Some(("other", "/anything"))),
        ("GET", "A.Example.COM:8000", "/anything", "", Some(("other", "/anything"))),
        ("GET", "example.com", "/anything", "", None),
        ("GET", "g", "/v2/core_service/x", "", Some(("core", "/x"))),
    ] {
        let shown = format!("{method} {host} {target} {canary:?}");
        let asked = request(method, target, &[("host", host), ("x-canary", canary)], "");
        let answer = send(gateway.address, asked).await;
        match expected {
            None => assert_eq!(answer.status, 404, "{shown}: {answer:?}"),
            Some((stub, path)) => {
                assert_eq!(answer.status, 200, "{shown}: {answer:?}");
                let echo = answer.json();
                assert_eq!(
                    (echo["stub"].as_str(), echo["target"].as_str()),
                    (Some(stub), Some(path)),
                    "{shown}"
                );
            }
        }
    }
}

#[tokio::test]
async fn old_names_under_v2_find_their_service() {
    let registry = Registry::start().await;
    let names = ["osint_service", "ip_intel_service", "maximus_core_service", "reflex_triage_engine"];
    let mut stubs = Vec::new();
    for name in names {
        let stub = Stub::start(name).await;
        registry.put(name, "one", &stub.url()).await;
        stubs.push(stub);
    }
    let gateway = Gateway::start(&registry.url()).await;
    for (asked, service) in [
        ("OSINT", "osint_service"),
        ("OSINT_SERVICE", "osint_service"),
        ("OSINT_SERVICE_URL", "osint_service"),
        ("OSINT_ENDPOINT", "osint_service"),
        ("IP_INTELLIGENCE_SERVICE", "ip_intel_service"),
        ("MAXIMUS_CORE_SERVICE_URL", "maximus_core_service"),
        ("REFLEX_TRIAGE_ENGINE", "reflex_triage_engine"),
    ] {
        let answer = gateway.get(&format!("/v2/{asked}/x")).await;
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        assert_eq!(answer.json()["stub"], service, "{asked}");
    }
}

#[tokio::test]
async fn the_environment_says_where_a_service_is_until_the_registry_does() {
    let registry = Registry::start().await;
    let (fallback, registered) = (Stub::start("fallback").await, Stub::start("registered").await);
    let url = fallback.url();
    let gateway = Gateway::start_with(&registry.url(), &[], &[("OSINT_SERVICE_URL", url.as_str())]).await;
    gateway.routes_to("osint_service", "fallback", PATIENCE).await;
    registry.put("osint_service", "one", &registered.url()).await;
    gateway.routes_to("osint_service", "registered", Duration::from_secs(1)).await;
    let before = fallback.requests();
    for _ in 0..20 {
        assert_eq!(gateway.get("/v2/osint_service/x").await.json()["stub"], "registered");
    }
    assert_eq!(fallback.requests(), before);
}
