//! Leases as clients see them, with the real ticker and paused time.

use std::time::Duration;

use serde_json::json;

use crate::support::Registry;

const BEAT: &str = r#"{"service_name":"osint_service"}"#;
const REGISTER: &str = r#"{"service_name":"osint_service","endpoint":"http://h:1"}"#;

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn who_beats_stays_and_who_does_not_goes() {
    let registry = Registry::open().await;
    registry.post("/register", REGISTER).await.expect(201);
    registry.put("ip_service", "h:1", "").await;
    for _ in 0..3 {
        sleep(30).await;
        registry.post("/heartbeat", BEAT).await.expect(200);
    }
    assert_eq!(registry.get("/services").await.expect(200), json!(["osint_service"]));
    sleep(70).await;
    registry.get("/services/osint_service").await.expect(200);
    sleep(8).await;
    registry.post("/heartbeat", BEAT).await.expect(404);
    assert_eq!(registry.get("/services").await.expect(200), json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_process_kills_nobody() {
    let registry = Registry::open().await;
    sleep(80).await;
    registry.post("/register", REGISTER).await.expect(201);
    // The clock jumps and the ticker has not run: as after SIGSTOP and SIGCONT.
    tokio::time::advance(Duration::from_secs(1000)).await;
    registry.get("/services/osint_service").await.expect(200);
    sleep(60).await;
    registry.post("/heartbeat", BEAT).await.expect(200);
}
