//! What a gateway rejects reaches who registered it.

use serde_json::{Value, json};

use crate::support::Registry;

fn said(put: &Value, reason: &str) -> String {
    let reject = json!({ "service": "osint_service", "instance_id": put["instance_id"], "generation": put["generation"], "reason": reason });
    json!({ "gateway": "g1", "rejects": [reject] }).to_string()
}

#[tokio::test]
async fn the_registrant_learns_it_with_its_next_answers_until_it_is_taken_back() {
    let registry = Registry::open().await;
    let put = registry.put("osint_service", "h:1", r#","incarnation":1"#).await;
    assert_eq!(put.get("rejects"), None);
    let kept = registry.post("/v1/rejects", said(&put, "the name h does not resolve")).await;
    assert_eq!(kept.expect(200), json!({ "kept": 1 }));
    let wanted = json!([{ "gateway": "g1", "reason": "the name h does not resolve", "age_s": 0 }]);
    let beat =
        json!({ "service_name": "osint_service", "instance_id": "h:1", "generation": put["generation"] });
    assert_eq!(registry.post("/heartbeat", beat.to_string()).await.expect(200)["rejects"], wanted);
    assert_eq!(registry.put("osint_service", "h:1", r#","incarnation":1"#).await["rejects"], wanted);
    let leases = registry.get("/v1/leases?service=osint_service").await.expect(200);
    assert_eq!(leases["leases"][0]["rejects"], wanted);
    // It was about that generation only.
    assert_eq!(registry.put("osint_service", "h:1", r#","incarnation":2"#).await.get("rejects"), None);
    registry.post("/v1/rejects", r#"{"gateway":"g1","rejects":[]}"#).await.expect(200);
    let leases = registry.get("/v1/leases").await.expect(200);
    assert_eq!(leases["leases"][0].get("rejects"), None);
}

#[tokio::test]
async fn what_is_not_registered_is_not_kept_and_mistakes_are_named() {
    let registry = Registry::open().await;
    let put = registry.put("osint_service", "h:1", "").await;
    let mut other = put.clone();
    other["generation"] = json!(1);
    assert_eq!(registry.post("/v1/rejects", said(&other, "x")).await.expect(200), json!({ "kept": 0 }));
    let one: Value = serde_json::from_str(&said(&put, "x")).unwrap();
    let many = json!({ "gateway": "g1", "rejects": vec![one["rejects"][0].clone(); 1001] });
    let refused = registry.post("/v1/rejects", many.to_string()).await.expect(422);
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "rejects"]));
    let refused = registry.post("/v1/rejects", r#"{"gateway":"","rejects":[]}"#).await.expect(422);
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "gateway"]));
}

#[tokio::test]
async fn leases_have_ages_and_a_total() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", r#","ttl":30"#).await;
    registry.put("ip_service", "h:1", "").await;
    let all = registry.get("/v1/leases").await.expect(200);
    assert_eq!((&all["total"], all["leases"].as_array().unwrap().len()), (&json!(2), 2));
    let one = registry.get("/v1/leases?service=osint_service").await.expect(200);
    assert_eq!(
        (&one["total"], &one["state"], &one["preserving_for_s"]),
        (&json!(1), &json!("warming"), &json!(null))
    );
    let lease = &one["leases"][0];
    assert_eq!(lease["instance"]["instance_id"], "h:1");
    let expires = lease["expires_in_s"].as_u64().unwrap();
    assert!(lease["beat_age_s"] == json!(0) && (40..=45).contains(&expires), "{lease}");
    assert_eq!(registry.get("/v1/leases?service=nobody").await.expect(200)["total"], json!(0));
}
