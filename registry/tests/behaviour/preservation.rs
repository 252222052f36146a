//! Self-preservation as clients see it, with the real ticker and paused time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Registry;

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Eight instances of which nobody hears again; six are over the limit.
async fn cut_off() -> (Registry, Vec<Value>) {
    let registry = Registry::open().await;
    sleep(80).await;
    let mut answers = Vec::new();
    for number in 0..8 {
        answers.push(registry.put("osint_service", &format!("h:{number}"), "").await);
    }
    sleep(79).await;
    (registry, answers)
}

fn rows(snapshot: &str) -> Vec<Value> {
    let lines = snapshot.lines().filter(|line| line.contains("instance_id"));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn it_is_told_marked_and_counted() {
    let (registry, _) = cut_off().await;
    let health = registry.get("/health").await.expect(200);
    assert_eq!((&health["state"], &health["stale"]), (&json!("preserving"), &json!(3)));
    let rows = rows(&registry.fingerprint().await);
    assert!(rows.len() == 3 && rows.iter().all(|row| row["stale"] == json!(true)), "{rows:?}");
    let metrics = String::from_utf8(registry.get("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("vertice_registry_preserving 1\n"));
    assert!(metrics.contains("vertice_registry_stale_leases 3\n"));
    registry.get("/services/osint_service").await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_a_stale_instance_reaches_the_watchers() {
    let (registry, _) = cut_off().await;
    let snapshot = registry.get("/v1/snapshot").await;
    let (epoch, revision) = (snapshot.header("x-registry-epoch"), snapshot.header("x-registry-revision"));
    let row = rows(&String::from_utf8_lossy(&snapshot.body)).remove(0);
    let beat = json!({ "service_name": "osint_service", "instance_id": row["instance_id"], "generation": row["generation"] });
    let path = format!("/v1/watch?epoch={epoch}&revision={revision}&wait=60");
    let (watched, _) = tokio::join!(registry.get(&path), registry.post("/heartbeat", beat.to_string()));
    let change = &watched.expect(200)["changes"][0];
    assert_eq!(change["instance"]["instance_id"], row["instance_id"]);
    assert_eq!(change["instance"].get("stale"), None);
}

#[tokio::test(start_paused = true)]
async fn a_gateways_probes_remove_what_is_stale() {
    let (registry, answers) = cut_off().await;
    let dead: Vec<Value> =
        answers.iter().map(|a| json!(["osint_service", a["instance_id"], a["generation"]])).collect();
    let fresh = registry.put("ip_service", "h:1", "").await;
    let mut all = dead.clone();
    all.push(json!(["ip_service", "h:1", fresh["generation"]]));
    let answer = registry.post("/v1/probes", json!({ "gateway": "g1", "dead": all }).to_string()).await;
    assert_eq!(answer.expect(200), json!({ "removed": 3 }));
    assert_eq!(registry.get("/services").await.expect(200), json!(["ip_service"]));
    for (bad, field) in [
        (json!({ "gateway": "g 1", "dead": [] }), "gateway"),
        (json!({ "gateway": "g1" }), "dead"),
        (json!({ "gateway": "g1", "dead": vec![dead[0].clone(); 1001] }), "dead"),
    ] {
        let refused = registry.post("/v1/probes", bad.to_string()).await.expect(422);
        assert_eq!(refused["detail"][0]["loc"], json!(["body", field]));
    }
    registry.post("/v1/probes", r#"{"gateway":"g1","dead":[["A B","x",1]]}"#).await.expect(422);
}
