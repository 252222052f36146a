//! Heartbeats change leases and nothing else.

use serde_json::json;

use crate::support::Registry;

#[tokio::test]
async fn a_heartbeat_makes_no_revision() {
    let registry = Registry::open().await;
    let put = registry.put("osint_service", "h:1", "").await;
    let fingerprint = registry.fingerprint().await;
    let single =
        json!({ "service_name": "osint_service", "instance_id": "h:1", "generation": put["generation"] });
    registry.post("/heartbeat", single.to_string()).await.expect(200);
    let batch = json!({ "epoch": put["epoch"], "leases": [[put["handle"], put["generation"]]] });
    let answer = registry.post("/v1/heartbeats", batch.to_string()).await.expect(200);
    assert_eq!(answer, json!({ "lost": [], "next_ms": 20_000 }));
    assert_eq!(registry.fingerprint().await, fingerprint);
}

#[tokio::test]
async fn a_batch_names_what_is_lost() {
    let registry = Registry::open().await;
    let put = registry.put("osint_service", "h:1", r#","ttl":30"#).await;
    let generation = put["generation"].as_u64().unwrap();
    let leases = json!([[put["handle"], generation], [put["handle"], generation - 1], [77, generation]]);
    let batch = json!({ "epoch": put["epoch"], "leases": leases });
    let answer = registry.post("/v1/heartbeats", batch.to_string()).await.expect(200);
    assert_eq!(answer, json!({ "lost": [put["handle"], 77], "next_ms": 10_000 }));
    let batch = json!({ "epoch": "0".repeat(32), "leases": leases });
    let answer = registry.post("/v1/heartbeats", batch.to_string()).await.expect(200);
    assert_eq!(answer["lost"].as_array().unwrap().len(), 3, "another epoch: all are lost");
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let registry = Registry::open().await;
    let batch = json!({ "epoch": "0".repeat(32), "leases": vec![(1, 1); 10_001] });
    let refused = registry.post("/v1/heartbeats", batch.to_string()).await.expect(422);
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "leases"]));
}
