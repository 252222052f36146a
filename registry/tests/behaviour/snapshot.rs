//! A snapshot proves that it is complete, and is not sent twice.

use vertice_registry_api::SourceState;
use vertice_registry_api::snapshot::Snapshot;

use crate::support::Registry;

#[tokio::test]
async fn all_instances_with_a_trailer_that_fits() {
    let registry = Registry::open().await;
    let empty = Snapshot::parse(&registry.get("/v1/snapshot").await.body).unwrap();
    assert_eq!((empty.instances.len(), empty.state), (0, SourceState::Warming));
    // More than one piece.
    for n in 0..300 {
        registry.put(&format!("service_{}", n % 10), &format!("h:{n}"), r#","metadata":{"k":"v"}"#).await;
    }
    let answer = registry.get("/v1/snapshot").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let snapshot = Snapshot::parse(&answer.body).unwrap();
    assert_eq!((snapshot.instances.len(), snapshot.position.revision.0), (300, 300));
    assert_eq!(answer.header("etag"), format!("\"{}\"", snapshot.position));

    let some = registry.get("/v1/snapshot?services=service_1,service_2,unknown").await;
    let some = Snapshot::parse(&some.body).unwrap();
    assert_eq!(some.instances.len(), 60);
    let none = Snapshot::parse(&registry.get("/v1/snapshot?services=").await.body).unwrap();
    assert_eq!(none.instances.len(), 0);
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    let tag = registry.get("/v1/snapshot").await.header("etag").to_owned();
    for tags in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let same = registry.call("GET", "/v1/snapshot", &[("if-none-match", &tags)], "").await;
        assert_eq!(same.status.as_u16(), 304, "{tags}");
        assert!(same.body.is_empty());
    }
    registry.put("osint_service", "h:2", "").await;
    registry
        .call("GET", "/v1/snapshot", &[("if-none-match", &tag)], "")
        .await
        .status
        .is_success()
        .then_some(())
        .unwrap();
}
