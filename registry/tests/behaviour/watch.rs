//! The long poll: changes at once, nothing after the wait, gone when the log does not reach back.

use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::snapshot::Snapshot;
use vertice_registry_api::watch::{ChangeOp, Gone, RemovalReason, WatchAnswer};

use crate::support::{Answer, Registry};

async fn position(registry: &Registry) -> String {
    let snapshot = Snapshot::parse(&registry.get("/v1/snapshot").await.body).unwrap();
    let position = snapshot.position;
    format!("epoch={}&revision={}", position.epoch, position.revision)
}

fn parsed(answer: &Answer) -> WatchAnswer {
    assert_eq!(answer.status.as_u16(), 200);
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn changes_come_in_order_with_the_digest_of_their_end() {
    let registry = Registry::open().await;
    let start = position(&registry).await;
    let put = registry.put("osint_service", "h:1", r#","metadata":{"k":"v"},"zone":"z""#).await;
    registry.put("osint_service", "h:2", "").await;
    let path = format!("/v1/services/osint_service/instances/h:1?generation={}", put["generation"]);
    registry.call("DELETE", &path, &[], "").await.expect(200);
    let answer = parsed(&registry.get(&format!("/v1/watch?{start}&wait=0")).await);
    assert_eq!((answer.from.0, answer.to.0, answer.changes.len()), (0, 3, 3));
    let snapshot = Snapshot::parse(&registry.get("/v1/snapshot").await.body).unwrap();
    assert_eq!(answer.digest, snapshot.digest);
    let mut set = Vec::new();
    for (change, revision) in answer.changes.into_iter().zip(1..) {
        assert_eq!(change.revision.0, revision);
        match change.op {
            ChangeOp::Upsert { instance } => set.push(*instance),
            ChangeOp::Remove { instance_id, reason, .. } => {
                assert_eq!(reason, RemovalReason::Deregistered);
                set.retain(|i| i.instance_id != instance_id);
            }
        }
    }
    assert_eq!(SetDigest::of(&set), answer.digest);
}

#[tokio::test]
async fn a_change_wakes_the_waiting_at_once() {
    let registry = Registry::open().await;
    let path = format!("/v1/watch?{}&wait=55", position(&registry).await);
    let begun = Instant::now();
    let (answer, _) = tokio::join!(registry.get(&path), async {
        tokio::task::yield_now().await;
        registry.put("osint_service", "h:1", "").await
    });
    assert_eq!(parsed(&answer).to.0, 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "far less than the wait");
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_204_after_the_wait_and_the_wait_is_capped() {
    let registry = Registry::open().await;
    // Beyond warming, whose end is news.
    tokio::time::sleep(Duration::from_secs(80)).await;
    let start = position(&registry).await;
    for (wait, least, most) in [("0", 0, 5), ("7", 7, 12), ("100000", 60, 65)] {
        let begun = Instant::now();
        let answer = registry.get(&format!("/v1/watch?{start}&wait={wait}")).await;
        answer.expect(204);
        assert_eq!(answer.header("x-registry-state"), "serving");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(least) && took < Duration::from_secs(most), "{wait}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_state_is_news() {
    let registry = Registry::open().await;
    let start = position(&registry).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let answer = parsed(&registry.get(&format!("/v1/watch?{start}&wait=55")).await);
    assert!(answer.changes.is_empty() && answer.from == answer.to);
    assert_eq!(answer.state, vertice_registry_api::SourceState::Serving);
}

#[tokio::test]
async fn a_position_that_is_not_in_the_log_is_gone() {
    let mut settings = vertice_registry::Settings::default();
    settings.limits.log_entries = 2;
    let registry = Registry::with(settings).await;
    let start = position(&registry).await;
    for n in 0..5 {
        registry.put("osint_service", &format!("h:{n}"), "").await;
    }
    let now = position(&registry).await;
    let epoch = now.split('&').next().unwrap();
    let other = format!("epoch={}&revision=1", "0".repeat(32));
    for gone in [start, other, format!("{epoch}&revision=6")] {
        let answer = registry.get(&format!("/v1/watch?{gone}")).await;
        assert_eq!(answer.status.as_u16(), 410, "{gone}");
        let gone: Gone = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(gone.oldest.0, 3);
    }
    parsed(&registry.get(&format!("/v1/watch?{epoch}&revision=3")).await);
}

#[tokio::test]
async fn waiting_polls_are_answered_when_the_registry_stops() {
    let registry = Registry::open().await;
    let path = format!("/v1/watch?{}&wait=55", position(&registry).await);
    let response = async { registry.get(&path).await.expect(204) };
    let stop = async {
        // Until the poll has begun.
        while !String::from_utf8_lossy(&registry.get("/metrics").await.body).contains("watchers 1\n") {}
        registry.trigger.pull();
    };
    tokio::join!(response, stop);
    assert!(registry.trigger.pull_and_wait(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn parameters_are_named_when_they_are_wrong() {
    let registry = Registry::open().await;
    let epoch = "0".repeat(32);
    for (query, parameter) in [
        (String::new(), "epoch"),
        ("?epoch=xyz&revision=1".to_owned(), "epoch"),
        (format!("?epoch={epoch}"), "revision"),
        (format!("?epoch={epoch}&revision=-1"), "revision"),
        (format!("?epoch={epoch}&revision=0&wait=soon"), "wait"),
    ] {
        let refused = registry.get(&format!("/v1/watch{query}")).await.expect(422);
        assert_eq!(refused["detail"][0]["loc"][1], parameter, "{query}");
    }
}
