//! The canary's writer against a registry that the test plays: what it sends, and what it makes of the answers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Script, epoch, soon};
use vertice_registry_api::InstanceId;
use vertice_registry_client::{Canary, CanaryConfig, CanaryState};

fn start(script: &Script) -> Canary {
    Canary::start(CanaryConfig {
        url: script.url(),
        token: Some("t0ken".to_owned()).into(),
        id: InstanceId::parse("gateway-1").unwrap(),
        started_unix_ms: 1000,
        request_timeout: Duration::from_secs(5),
    })
}

async fn becomes(canary: &Canary, wanted: impl Fn(&CanaryState) -> bool) {
    soon("the canary's state", async {
        while !wanted(&canary.state()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

const ENTRY: &str = "/v1/services/vertice-canary/instances/gateway-1";

#[tokio::test]
async fn each_number_is_written_once_and_the_entry_is_taken_back() {
    let mut script = Script::start().await;
    let canary = start(&script);
    for number in [1, 2] {
        canary.write(number);
        let asked = script.expect(&format!("PUT {ENTRY}")).await;
        let body = asked.json();
        assert_eq!(asked.header("x-registry-token"), Some("t0ken"));
        assert_eq!(body["metadata"]["count"], number.to_string());
        assert_eq!((&body["status"], &body["weight"]), (&json!("down"), &json!(0)));
        let granted = json!({"message": "", "service_name": "vertice-canary", "instance_id": "gateway-1",
            "generation": 5, "handle": 1, "ttl": 45, "heartbeat_interval": 15, "epoch": epoch(1), "revision": number});
        asked.answer_json(200, &granted);
        becomes(&canary, |state| *state == CanaryState::Written(number)).await;
    }
    let removed = tokio::spawn(canary.remove(Duration::from_secs(5)));
    script.expect(&format!("DELETE {ENTRY}?generation=5")).await.answer_json(200, &json!({}));
    removed.await.unwrap();
}

#[tokio::test]
async fn a_refusal_ends_it_and_a_failure_does_not() {
    let mut script = Script::start().await;
    let canary = start(&script);
    canary.write(1);
    script.expect(&format!("PUT {ENTRY}")).await.answer(503, "text/plain", "later");
    becomes(&canary, |state| matches!(state, CanaryState::Failed(_))).await;
    canary.write(2);
    script.expect(&format!("PUT {ENTRY}")).await.answer_json(403, &json!({"detail": "not yours"}));
    becomes(&canary, |state| matches!(state, CanaryState::Refused(words) if words.contains("not yours")))
        .await;
}
