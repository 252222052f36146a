//! Clients of the original registry go on as they are, and meet its bugs no more.

use serde_json::json;

use crate::support::Registry;

/// As the original sidecar sends it.
const OSINT: &str = r#"{"service_name": "osint_service", "endpoint": "http://vertice-osint:8036", "health_endpoint": "/health", "metadata": {"version": 2.1, "status": "healthy"}}"#;

#[tokio::test]
async fn the_life_of_an_old_client() {
    let registry = Registry::open().await;
    let headers = [
        ("user-agent", "python-httpx/0.27.0"),
        ("x-registry-token", "whatever-it-has"),
        ("content-type", "application/json"),
    ];
    let registered = registry.call("POST", "/register", &headers, OSINT).await.expect(201);
    assert_eq!(registered["service_name"], "osint_service");
    assert_eq!(registered["instance_id"], "@legacy");
    assert_eq!(registered["ttl"], 60);
    let beat = registry.post("/heartbeat", r#"{"service_name":"osint_service"}"#).await.expect(200);
    assert_eq!(beat["service_name"], "osint_service");
    assert!(beat["message"].is_string());

    let names = registry.get("/services").await;
    assert_eq!(names.expect(200), json!(["osint_service"]));
    let shown = registry.get("/services/osint_service").await.expect(200);
    assert_eq!(shown["endpoint"], "http://vertice-osint:8036");
    assert_eq!(shown["health_endpoint"], "/health");
    assert_eq!(shown["metadata"], json!({ "version": "2.1", "status": "healthy" }));
    assert!(shown["registered_at"].is_f64() && shown["last_heartbeat"].is_f64());
    assert!((59..=60).contains(&shown["ttl_remaining"].as_i64().unwrap()));
    assert_eq!(shown["instances"].as_array().unwrap().len(), 1);

    for _ in 0..2 {
        registry.call("DELETE", "/deregister/osint_service", &[], "").await.expect(200);
    }
    let gone = registry.get("/services/osint_service").await.expect(404);
    assert_eq!(gone["detail"], "Service 'osint_service' not found");
    assert_eq!(registry.get("/services").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_heartbeat_of_an_unknown_name_is_404_with_a_pause() {
    let registry = Registry::open().await;
    for name in ["nobody", "", "a/b", "A B"] {
        let body = json!({ "service_name": name }).to_string();
        let unknown = registry.post("/heartbeat", body).await.expect(404);
        assert_eq!(unknown["detail"], format!("Service '{name}' not registered"));
        assert!(unknown["retry_after_ms"].as_u64().unwrap() < 1000);
    }
}

#[tokio::test]
async fn an_old_client_renews_and_removes_itself_only() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    registry.post("/heartbeat", r#"{"service_name":"osint_service"}"#).await.expect(404);
    registry.call("DELETE", "/deregister/osint_service", &[], "").await.expect(200);
    assert_eq!(registry.get("/services").await.expect(200), json!(["osint_service"]));
}

#[tokio::test]
async fn a_second_endpoint_replaces_the_first() {
    let registry = Registry::open().await;
    registry.post("/register", OSINT).await.expect(201);
    registry.post("/register", OSINT.replace("vertice-osint:8036", "other:1")).await.expect(201);
    let shown = registry.get("/services/osint_service").await.expect(200);
    assert_eq!(shown["endpoint"], "http://other:1");
    assert_eq!(shown["instances"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_one_endpoint_that_is_shown_stays_until_it_leaves() {
    let registry = Registry::open().await;
    let b = registry.put("osint_service", "b:1", r#","health_endpoint":"/b""#).await;
    let shown = async || registry.get("/services/osint_service").await.expect(200)["health_endpoint"].clone();
    assert_eq!(shown().await, "/b");
    registry.put("osint_service", "a:1", r#","health_endpoint":"/a""#).await;
    assert_eq!(shown().await, "/b", "the newcomer comes first by name, and still");
    let path = format!("/v1/services/osint_service/instances/b:1?generation={}", b["generation"]);
    registry.call("PATCH", &path, &[], r#"{"status":"draining"}"#).await.expect(200);
    assert_eq!(shown().await, "/a");
    registry.post("/register", OSINT.replace("/health\"", "/old\"")).await.expect(201);
    assert_eq!(shown().await, "/old", "an old client comes first");
}

#[tokio::test]
async fn none_up_is_not_found_and_still_listed() {
    let registry = Registry::open().await;
    registry.put("osint_service", "a:1", r#","status":"starting""#).await;
    registry.get("/services/osint_service").await.expect(404);
    assert_eq!(registry.get("/services").await.expect(200), json!(["osint_service"]));
}

#[tokio::test]
async fn names_carry_their_position_and_are_not_sent_twice() {
    let registry = Registry::open().await;
    registry.post("/register", OSINT).await.expect(201);
    let first = registry.get("/services").await;
    assert_eq!((first.header("x-registry-revision"), first.header("x-registry-state")), ("1", "warming"));
    let tag = first.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}-1\"", first.header("x-registry-epoch")));
    let again = registry.call("GET", "/services", &[("if-none-match", &tag)], "").await;
    again.expect(304);
    assert_eq!(again.header("x-registry-revision"), "1");
    registry.put("ip_service", "a:1", "").await;
    registry.call("GET", "/services", &[("if-none-match", &tag)], "").await.expect(200);
}

#[tokio::test]
async fn an_instance_of_its_own_through_the_old_calls() {
    let registry = Registry::open().await;
    let body =
        r#"{"service_name":"osint_service","instance_id":"h:1","incarnation":7,"endpoint":"http://h:1"}"#;
    let registered = registry.post("/register", body).await.expect(201);
    let generation = registered["generation"].as_u64().unwrap();
    let beat = |generation: u64| {
        json!({ "service_name": "osint_service", "instance_id": "h:1", "generation": generation }).to_string()
    };
    registry.post("/heartbeat", beat(generation)).await.expect(200);
    registry.post("/register", body.replace('7', "8")).await.expect(201);
    registry.post("/heartbeat", beat(generation)).await.expect(409);
    registry.post("/register", body).await.expect(409);
    let path = |generation: u64| format!("/deregister/osint_service?instance_id=h:1&generation={generation}");
    registry.call("DELETE", &path(generation), &[], "").await.expect(409);
    registry.call("DELETE", &path(generation + 1), &[], "").await.expect(200);
    registry.get("/services/osint_service").await.expect(404);
}
