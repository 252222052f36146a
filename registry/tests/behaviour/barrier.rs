//! The drain barrier: answered when every live gateway has applied a revision.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::Registry;

async fn ack(registry: &Registry, gateway: &str, epoch: &Value, revision: u64) -> crate::support::Answer {
    let body = json!({ "gateway": gateway, "epoch": epoch, "revision": revision });
    registry.post("/v1/ack", body.to_string()).await
}

#[tokio::test]
async fn it_waits_for_the_last_gateway() {
    let registry = Registry::open().await;
    let nobody = registry.get("/v1/barrier?revision=0").await.expect(200);
    assert_eq!(nobody, json!({ "applied": 0, "total": 0, "missing": [] }));
    let epoch = registry.put("osint_service", "h:1", "").await["epoch"].clone();
    ack(&registry, "one", &epoch, 1).await.expect(200);
    ack(&registry, "two", &epoch, 0).await.expect(200);
    let begun = Instant::now();
    let (answer, _) = tokio::join!(registry.get("/v1/barrier?revision=1&timeout=60"), async {
        tokio::task::yield_now().await;
        ack(&registry, "two", &epoch, 1).await
    });
    assert_eq!(answer.expect(200), json!({ "applied": 2, "total": 2, "missing": [] }));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn it_names_who_is_missing_and_forgets_who_is_silent() {
    let registry = Registry::open().await;
    let epoch = registry.put("osint_service", "h:1", "").await["epoch"].clone();
    ack(&registry, "late", &epoch, 0).await.expect(200);
    let answer = registry.get("/v1/barrier?revision=1&timeout=5").await.expect(200);
    assert_eq!(answer, json!({ "applied": 0, "total": 1, "missing": ["late"] }));
    let begun = Instant::now();
    let answer = registry.get("/v1/barrier?revision=1&timeout=60").await.expect(200);
    assert_eq!(answer["total"], 0, "a minute behind without a word: it is gone");
    assert!((50..60).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_with_nothing_to_apply_is_waited_for_after_any_time() {
    let registry = Registry::open().await;
    let epoch = registry.put("osint_service", "h:1", r#","ttl":3600"#).await["epoch"].clone();
    ack(&registry, "idle", &epoch, 1).await.expect(200);
    tokio::time::sleep(Duration::from_mins(10)).await;
    registry.put("osint_service", "h:2", "").await;
    let answer = registry.get("/v1/barrier?revision=2&timeout=1").await.expect(200);
    assert_eq!(answer["missing"], json!(["idle"]));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let registry = Registry::open().await;
    let epoch = registry.put("osint_service", "h:1", "").await["epoch"].clone();
    ack(&registry, "one", &json!("0".repeat(32)), 1).await.expect(410);
    let ahead = ack(&registry, "one", &epoch, 2).await.expect(422);
    assert_eq!(ahead["detail"][0]["loc"][1], "revision");
    let name = ack(&registry, "", &epoch, 1).await.expect(422);
    assert_eq!(name["detail"][0]["loc"][1], "gateway");
    registry.get("/v1/barrier?revision=2").await.expect(422);
    registry.get("/v1/barrier").await.expect(422);
    registry.get("/v1/barrier?revision=1&epoch=x").await.expect(422);
    let other = registry.get(&format!("/v1/barrier?revision=1&epoch={}", "0".repeat(32))).await.expect(410);
    assert_eq!(other["epoch"], epoch, "a revision of another history is not this one's");
    let same = format!("/v1/barrier?revision=1&epoch={}", epoch.as_str().unwrap());
    assert_eq!(registry.get(&same).await.expect(200)["total"], 0);
    assert_eq!(registry.get("/v1/barrier?revision=1").await.expect(200)["total"], 0);
}
