//! Instances under `/v1`: registering, changing, deregistering, and who may still do so.

use serde_json::json;

use crate::support::Registry;

const PATH: &str = "/v1/services/osint_service/instances/h:1";

#[tokio::test]
async fn put_is_idempotent() {
    let registry = Registry::open().await;
    let body = r#"{"url":"http://h:1","incarnation":5}"#;
    let first = registry.call("PUT", PATH, &[], body).await.expect(201);
    let again = registry.call("PUT", PATH, &[], body).await.expect(200);
    assert_eq!(again, first, "same generation, same revision");
    let newer = registry.call("PUT", PATH, &[], body.replace('5', "6")).await.expect(200);
    assert!(newer["generation"].as_u64() > first["generation"].as_u64());
    assert_eq!(newer["revision"], 2);
    let fingerprint = registry.fingerprint().await;
    registry.call("PUT", PATH, &[], body).await.expect(409);
    assert_eq!(registry.fingerprint().await, fingerprint);
}

#[tokio::test]
async fn an_id_may_be_percent_encoded() {
    let registry = Registry::open().await;
    let put = registry.call("PUT", &PATH.replace(':', "%3A"), &[], r#"{"url":"http://h:1"}"#).await;
    assert_eq!(put.expect(201)["instance_id"], "h:1");
}

#[tokio::test]
async fn the_owner_changes_status_and_weight_and_late_messages_do_not() {
    let registry = Registry::open().await;
    let old = registry.put("osint_service", "h:1", r#","incarnation":1"#).await["generation"].clone();
    let new = registry.put("osint_service", "h:1", r#","incarnation":2"#).await["generation"].clone();
    let fingerprint = registry.fingerprint().await;
    let at = |generation: &serde_json::Value| format!("{PATH}?generation={generation}");
    for late in [r#"{"status":"down"}"#, r#"{"weight":1}"#] {
        registry.call("PATCH", &at(&old), &[], late).await.expect(409);
    }
    registry.call("DELETE", &at(&old), &[], "").await.expect(409);
    assert_eq!(registry.fingerprint().await, fingerprint);

    let drained = registry.call("PATCH", &at(&new), &[], r#"{"status":"draining","deadline_s":30}"#).await;
    assert_eq!((&drained.expect(200)["generation"], &drained.json()["revision"]), (&new, &json!(3)));
    registry.call("PATCH", &at(&new), &[], r#"{"weight":7}"#).await.expect(200);
    let snapshot = registry.fingerprint().await;
    assert!(snapshot.contains(r#""weight":7,"status":"draining""#), "{snapshot}");
    assert_eq!(registry.call("DELETE", &at(&new), &[], "").await.expect(200)["removed"], true);
    assert_eq!(registry.call("DELETE", &at(&new), &[], "").await.expect(200)["removed"], false);
    registry.call("PATCH", &at(&new), &[], r#"{"weight":7}"#).await.expect(404);
}

#[tokio::test]
async fn an_operators_word_wins() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    registry.call("PATCH", PATH, &[], r#"{"override":"down"}"#).await.expect(200);
    registry.get("/services/osint_service").await.expect(404);
    registry.put("osint_service", "h:1", "").await;
    registry.get("/services/osint_service").await.expect(404);
    registry.call("PATCH", PATH, &[], r#"{"override":null}"#).await.expect(200);
    registry.get("/services/osint_service").await.expect(200);
}

#[tokio::test]
async fn methods_and_paths_that_are_not_there() {
    let registry = Registry::open().await;
    for (method, path, allow) in [
        ("GET", PATH, "PUT, PATCH, DELETE"),
        ("GET", "/register", "POST"),
        ("PUT", "/services", "GET, HEAD"),
        ("POST", "/v1/watch", "GET"),
        ("HEAD", "/v1/watch", "GET"),
        ("OPTIONS", "/health", "GET, HEAD"),
        ("BREW", "/deregister/x", "DELETE"),
    ] {
        let refused = registry.call(method, path, &[], "").await;
        assert_eq!(refused.status.as_u16(), 405, "{method} {path}");
        assert_eq!(refused.header("allow"), allow, "{method} {path}");
    }
    for path in ["/", "/v1", "/v1/services/osint_service", "/services/", "/v2/x/"] {
        assert_eq!(
            registry.get(path).await.expect(404)["detail"],
            if path == "/services/" { "Service '' not found" } else { "Not Found" }
        );
    }
    let head = registry.call("HEAD", "/services", &[], "").await;
    assert!(head.status.is_success() && head.body.is_empty());
}

#[tokio::test]
async fn limits_are_named_and_can_be_tried_again() {
    let mut settings = vertice_registry::Settings::default();
    settings.limits.instances = 1;
    let registry = Registry::with(settings).await;
    registry.put("osint_service", "h:1", "").await;
    let full =
        registry.call("PUT", "/v1/services/ip_service/instances/h:2", &[], r#"{"url":"http://h:2"}"#).await;
    assert_eq!(full.expect(429)["detail"], "the registry takes at most 1 instances");
    assert_eq!(full.header("retry-after"), "60");
}

#[tokio::test]
async fn an_instance_that_is_taken_over_again_and_again_is_left_to_its_holder() {
    let registry = Registry::open().await;
    for incarnation in 1..=6 {
        registry.put("osint_service", "h:1", &format!(r#","incarnation":{incarnation}"#)).await;
    }
    let path = "/v1/services/osint_service/instances/h:1";
    let body = r#"{"url":"http://h:80","incarnation":7}"#;
    let refused = registry.call("PUT", path, &[], body).await;
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&seconds));
    let detail = refused.expect(429)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("two processes") && detail.contains("h:1"), "{detail}");
    registry.put("osint_service", "h:1", r#","incarnation":6"#).await;
    let metrics = String::from_utf8(registry.get("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("vertice_registry_quarantined_instances 1\n"));
}
