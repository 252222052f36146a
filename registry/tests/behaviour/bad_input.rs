//! Bad input of every kind: a clear error that names the field, and nothing changed.

use serde_json::{Value, json};

use crate::support::Registry;

#[tokio::test]
async fn bad_registrations_name_their_fields() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    let before = registry.fingerprint().await;
    let good = json!({ "service_name": "ip_service", "endpoint": "http://h:1" });
    for (field, value, kind) in [
        ("service_name", Value::Null, "type"),
        ("service_name", json!(""), "value"),
        ("service_name", json!("a/b"), "value"),
        ("service_name", json!("Upper"), "value"),
        ("service_name", json!("x".repeat(65)), "value"),
        ("endpoint", json!("not a url"), "value"),
        ("endpoint", json!("ftp://h:1"), "value"),
        ("endpoint", json!("http://u:p@h:1"), "value"),
        ("endpoint", json!("http://h:0"), "value"),
        ("endpoint", json!(7), "type"),
        ("endpoint", json!("http://169.254.169.254"), "value"),
        ("endpoint", json!("http://[::ffff:169.254.169.254]"), "value"),
        ("endpoint", json!("http://0.0.0.0:1"), "value"),
        ("endpoint", json!(format!("http://{}", registry.address)), "value"),
        ("health_endpoint", json!("health"), "value"),
        ("health_endpoint", json!({}), "type"),
        ("metadata", json!([]), "type"),
        ("metadata", json!({ "k": "x".repeat(513) }), "limit"),
        ("instance_id", json!("a b"), "value"),
        ("incarnation", json!(-1), "value"),
        ("weight", json!(1001), "value"),
        ("ttl", json!(4), "value"),
        ("status", json!("well"), "value"),
        ("zone", json!(""), "value"),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = registry.post("/register", body.to_string()).await.expect(422);
        let error = &refused["detail"][0];
        assert_eq!(
            (&error["loc"], &error["type"]),
            (&json!(["body", field]), &json!(kind)),
            "{field}={value}"
        );
    }
    let missing = registry.post("/register", "{}").await.expect(422);
    assert_eq!(missing["detail"].as_array().unwrap().len(), 2, "both missing fields at once");
    for body in ["", "{", "[]", "nonsense", "\u{0}", "{\"a\":1}x"] {
        for path in ["/register", "/heartbeat", "/v1/heartbeats", "/v1/ack"] {
            let refused = registry.post(path, body).await;
            assert_eq!(refused.status.as_u16(), 422, "{path} {body}");
        }
    }
    assert_eq!(registry.fingerprint().await, before);
}

#[tokio::test]
async fn bad_small_bodies_name_their_fields() {
    let registry = Registry::open().await;
    let epoch = "0".repeat(32);
    for (path, body, fields) in [
        ("/heartbeat", json!({}), vec!["service_name"]),
        ("/heartbeat", json!({ "service_name": 7, "generation": "x" }), vec!["service_name", "generation"]),
        ("/heartbeat", json!({ "service_name": "a", "instance_id": "h:1" }), vec!["generation"]),
        ("/v1/heartbeats", json!({}), vec!["epoch", "leases"]),
        ("/v1/heartbeats", json!({ "epoch": "xyz", "leases": [[1]] }), vec!["epoch", "leases"]),
        ("/v1/heartbeats", json!({ "epoch": epoch, "leases": [[1, -1]] }), vec!["leases"]),
        (
            "/v1/ack",
            json!({ "gateway": 1, "epoch": 2, "revision": "3" }),
            vec!["gateway", "epoch", "revision"],
        ),
    ] {
        let refused = registry.post(path, body.to_string()).await.expect(422);
        let named: Vec<_> =
            refused["detail"].as_array().unwrap().iter().map(|e| e["loc"][1].clone()).collect();
        assert_eq!(named, fields, "{path} {body}");
    }
}

#[tokio::test]
async fn bad_paths_and_queries_name_their_parts() {
    let registry = Registry::open().await;
    let before = registry.fingerprint().await;
    let body = r#"{"url":"http://h:1"}"#;
    for (method, path, part) in [
        ("PUT", "/v1/services/A/instances/h:1", json!(["path", "service"])),
        ("PUT", "/v1/services/ip_service/instances/a%20b", json!(["path", "id"])),
        ("PUT", "/v1/services/ip_service/instances/@legacy", json!(["path", "id"])),
        ("DELETE", "/v1/services/ip_service/instances/h:1", json!(["query", "generation"])),
        ("DELETE", "/v1/services/ip_service/instances/h:1?generation=x", json!(["query", "generation"])),
        ("DELETE", "/deregister/ip_service?instance_id=h:1", json!(["query", "generation"])),
    ] {
        let refused = registry.call(method, path, &[], body).await.expect(422);
        assert_eq!(refused["detail"][0]["loc"], part, "{method} {path}");
    }
    let patch = registry.call("PATCH", "/v1/services/ip_service/instances/h:1", &[], r#"{"weight":1}"#).await;
    assert_eq!(patch.expect(422)["detail"][0]["loc"], json!(["query", "generation"]));
    assert_eq!(registry.fingerprint().await, before);
}

#[tokio::test]
async fn ten_megabytes_are_refused_with_the_limit() {
    let registry = Registry::open().await;
    let before = registry.fingerprint().await;
    for (method, path, limit) in [
        ("POST", "/register", "65536"),
        ("POST", "/heartbeat", "65536"),
        ("POST", "/v1/heartbeats", "524288"),
        ("PUT", "/v1/services/ip_service/instances/h:1", "65536"),
        ("PATCH", "/v1/services/ip_service/instances/h:1", "65536"),
        ("POST", "/v1/ack", "65536"),
    ] {
        let refused = registry.call(method, path, &[], vec![b'x'; 10_000_000]).await.expect(413);
        assert!(refused["detail"].as_str().unwrap().contains(limit), "{method} {path}");
    }
    assert_eq!(registry.fingerprint().await, before);
}
