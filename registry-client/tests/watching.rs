//! Our registry, played by the test: what a source says of it, and what it asks for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Script, config, epoch, event, instance, snapshot, soon, start};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::reject::Reject;
use vertice_registry_api::{Instance, Position, Revision, SourceState};
use vertice_registry_client::{
    Authority, Event, Report, SetChange, Source, SourceConfig, SourceError, SourceKind, source,
};

const NDJSON: &str = "application/x-ndjson";

/// A watch answer of upserts from `from`, after which the set is `after`.
fn upserts(from: u64, upserts: &[Instance], after: &[Instance]) -> Value {
    let change = |(i, at): (&Instance, u64)| json!({"revision": at, "op": "upsert", "instance": i});
    let changes: Vec<_> = upserts.iter().zip(from + 1..).map(change).collect();
    let to = from + u64::try_from(upserts.len()).unwrap();
    let digest = SetDigest::of(after);
    json!({"epoch": epoch(1), "from": from, "to": to, "changes": changes, "digest": digest, "state": "serving"})
}

fn position(epoch_number: u128, revision: u64) -> Position {
    Position { epoch: epoch(epoch_number), revision: Revision(revision) }
}

/// A source that was told `instances` at `1-7` and has its first watch under way.
async fn watching(script: &mut Script, instances: &[Instance]) -> Source {
    let mut source = start(script);
    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &snapshot(1, 7, instances));
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Watched));
    let Event::Replaced { authority: Authority::Complete, position: at, .. } = event(&mut source).await
    else {
        panic!("a whole read was expected");
    };
    assert_eq!(at, Some(position(1, 7)));
    source
}

fn watch_from(revision: u64, wait: u64) -> String {
    format!("GET /v1/watch?epoch={}&revision={revision}&wait={wait}", epoch(1))
}

fn failed(event: Event) -> SourceError {
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    error
}

#[tokio::test]
async fn a_snapshot_then_each_change_from_where_it_stands() {
    let mut script = Script::start().await;
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let mut source = watching(&mut script, std::slice::from_ref(&a)).await;
    let asked = script.expect(&watch_from(7, 55)).await;
    assert_eq!(asked.header("x-registry-token"), Some("t0ken"));
    asked.answer_json(200, &upserts(7, std::slice::from_ref(&b), &[a, b.clone()]));
    let Event::Changed { changes, position: at, state } = event(&mut source).await else {
        panic!("changes were expected");
    };
    assert_eq!(changes, [SetChange::Upsert(b.into())]);
    assert_eq!((at, state), (Some(position(1, 8)), SourceState::Serving));
    script
        .expect(&watch_from(8, 55))
        .await
        .raw("HTTP/1.1 204 X\r\nx-registry-state: preserving\r\n\r\n".into());
    let alive = Event::Alive { position: Some(position(1, 8)), state: SourceState::Preserving };
    assert_eq!(event(&mut source).await, alive);
    script.expect(&watch_from(8, 55)).await;
}

#[tokio::test]
async fn after_a_lost_connection_it_goes_on_without_a_snapshot() {
    let mut script = Script::start().await;
    let mut source = watching(&mut script, &[instance("alpha", "a:1")]).await;
    drop(script.expect(&watch_from(7, 55)).await);
    assert!(matches!(failed(event(&mut source).await), SourceError::Connect(_)));
    script.expect(&watch_from(7, 0)).await.answer(502, "text/html", "<html>");
    assert_eq!(failed(event(&mut source).await), SourceError::Status(502));
    script.expect(&watch_from(7, 0)).await.raw("HTTP/1.1 204 X\r\n\r\n".into());
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Watched), "the kind was asked again");
    let alive = Event::Alive { position: Some(position(1, 7)), state: SourceState::Serving };
    assert_eq!(event(&mut source).await, alive);
    script.expect(&watch_from(7, 55)).await;
}

#[tokio::test]
async fn a_position_that_is_gone_is_answered_with_a_snapshot_and_is_no_failure() {
    let mut script = Script::start().await;
    let mut source = watching(&mut script, &[instance("alpha", "a:1")]).await;
    let gone = json!({"detail": "gone", "epoch": epoch(2), "oldest": 0});
    script.expect(&watch_from(7, 55)).await.answer_json(410, &gone);
    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &snapshot(2, 3, &[]));
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Watched));
    let Event::Replaced { position: at, instances, .. } = event(&mut source).await else {
        panic!("a whole read was expected");
    };
    assert_eq!((at, instances.len()), (Some(position(2, 3)), 0));
}

#[tokio::test]
async fn what_does_not_fit_is_not_said_and_leads_to_a_snapshot() {
    let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
    let wrong_digest = upserts(7, std::slice::from_ref(&b), &[]);
    let gap = upserts(9, std::slice::from_ref(&b), &[a.clone(), b.clone()]);
    for (answer, error) in
        [(wrong_digest, SourceError::Digest), (gap, SourceError::Gap { known: 7, from: 9 })]
    {
        let mut script = Script::start().await;
        let mut source = watching(&mut script, std::slice::from_ref(&a)).await;
        script.expect(&watch_from(7, 55)).await.answer_json(200, &answer);
        assert_eq!(failed(event(&mut source).await), error);
        script.expect("GET /v1/snapshot").await;
    }
}

#[tokio::test]
async fn answers_that_decide_nothing() {
    let mut script = Script::start().await;
    let mut source = start(&script);
    let whole = snapshot(1, 7, &[instance("alpha", "a:1")]);

    script.expect("GET /v1/snapshot").await.answer(200, "text/html", "<html>login</html>");
    let error = failed(event(&mut source).await);
    assert!(
        matches!(&error, SourceError::NotOurs { content_type, .. } if content_type == "text/html"),
        "{error:?}"
    );
    assert!(error.to_string().contains("check that the URL is the registry's"), "{error}");

    let cut = &whole[..whole.len() - 40];
    let head = format!("HTTP/1.1 200 X\r\ncontent-type: {NDJSON}\r\ncontent-length: {}\r\n\r\n", whole.len());
    script.expect("GET /v1/snapshot").await.raw(head + cut);
    assert!(matches!(failed(event(&mut source).await), SourceError::Truncated(_)));

    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, whole.lines().next().unwrap());
    assert!(matches!(failed(event(&mut source).await), SourceError::Truncated(_)), "no trailer");

    script.expect("GET /v1/snapshot").await.answer(404, "application/json", "{}");
    script.expect("GET /services").await.answer(200, "text/html", "<html>");
    assert!(matches!(failed(event(&mut source).await), SourceError::NotOurs { .. }), "404 alone is no proof");

    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &whole);
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Watched));
}

#[tokio::test]
async fn other_statuses_decide_nothing_either() {
    for status in [204, 301, 401, 403, 500, 503] {
        let mut script = Script::start().await;
        let mut source = start(&script);
        script.expect("GET /v1/snapshot").await.answer(status, "application/json", "");
        assert_eq!(failed(event(&mut source).await), SourceError::Status(status));
        script.expect("GET /v1/snapshot").await;
    }
}

#[tokio::test]
async fn a_registry_that_was_rolled_back_to_the_original_is_polled() {
    let mut script = Script::start().await;
    let mut source = watching(&mut script, &[instance("alpha", "a:1")]).await;
    script.expect(&watch_from(7, 55)).await.answer(404, "application/json", "{}");
    assert_eq!(failed(event(&mut source).await), SourceError::Status(404));
    script.expect("GET /v1/snapshot").await.answer(404, "application/json", "{}");
    script.expect("GET /services").await.answer_json(200, &json!([]));
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Polled));
}

#[tokio::test]
async fn what_is_in_the_table_is_acknowledged_beside_the_watch() {
    let mut script = Script::start().await;
    let mut source = source::start(SourceConfig { gateway_id: Some("gw-1".into()), ..config(&script) });
    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &snapshot(1, 7, &[]));
    event(&mut source).await;
    event(&mut source).await;
    let _long_poll = script.expect(&watch_from(7, 55)).await;
    source.applied(position(1, 7));
    let ack = script.expect("POST /v1/ack").await;
    assert_eq!(ack.json(), json!({"gateway": "gw-1", "epoch": epoch(1), "revision": 7}));
    // While that one is unanswered, two more come: only the newest is sent.
    source.applied(position(1, 8));
    source.applied(position(1, 9));
    ack.answer_json(200, &json!({}));
    assert_eq!(script.expect("POST /v1/ack").await.json()["revision"], 9);
}

#[tokio::test]
async fn findings_are_told_once_beside_the_watch_again_after_a_failure_and_taken_back() {
    let mut script = Script::start().await;
    let mut source = source::start(SourceConfig { gateway_id: Some("gw-1".into()), ..config(&script) });
    script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &snapshot(1, 7, &[]));
    event(&mut source).await;
    event(&mut source).await;
    let _long_poll = script.expect(&watch_from(7, 55)).await;
    let a = instance("alpha", "a:1");
    let reject = |reason: &str| Reject {
        service: a.service.clone(),
        instance_id: a.instance_id.clone(),
        generation: 1,
        reason: reason.into(),
    };
    let says = |reason: &str| Report { rejects: vec![reject(reason)], ..Report::default() };
    source.report(Report::default());
    source.report(says("one"));
    let asked = script.expect("POST /v1/rejects").await;
    let told = |reason: &str| {
        let reject = json!({"service": "alpha", "instance_id": "a:1", "generation": 1, "reason": reason});
        json!({"gateway": "gw-1", "rejects": [reject]})
    };
    assert_eq!(asked.json(), told("one"));
    // While that one is unanswered, two more come: only the newest is sent.
    source.report(says("two"));
    source.report(says("three"));
    asked.answer_json(200, &json!({"kept": 1}));
    let asked = script.expect("POST /v1/rejects").await;
    assert_eq!(asked.json(), told("three"));
    asked.answer_json(503, &json!({"detail": "not now"}));
    let again = script.expect("POST /v1/rejects").await;
    assert_eq!(again.json(), told("three"));
    again.answer_json(200, &json!({"kept": 1}));
    source.report(Report { dead: vec![(a.service.clone(), a.instance_id.clone(), 1)], ..Report::default() });
    for _ in 0..2 {
        let asked = script.next().await;
        let wanted = match asked.line().as_str() {
            "POST /v1/rejects" => json!({"gateway": "gw-1", "rejects": []}),
            "POST /v1/probes" => json!({"gateway": "gw-1", "dead": [["alpha", "a:1", 1]]}),
            other => panic!("{other}"),
        };
        assert_eq!(asked.json(), wanted);
        asked.answer_json(200, &json!({}));
    }
}

#[tokio::test]
async fn a_dropped_source_closes_its_connections() {
    let mut script = Script::start().await;
    let source = watching(&mut script, &[]).await;
    let asked = script.expect(&watch_from(7, 55)).await;
    drop(source);
    soon("the client to go away", asked.closed()).await;
    assert!(script.waiting().is_none());
}

#[tokio::test]
async fn a_read_that_is_asked_for_ends_the_watch_and_comes_over_another_connection() {
    let mut script = Script::start().await;
    let a = instance("alpha", "a:1");
    let mut source = watching(&mut script, std::slice::from_ref(&a)).await;
    let polled = script.expect(&watch_from(7, 55)).await;
    source.resync();
    let asked = script.expect("GET /v1/snapshot").await;
    polled.closed().await;
    asked.answer(200, NDJSON, &snapshot(1, 7, &[a]));
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Watched));
    assert!(matches!(event(&mut source).await, Event::Replaced { authority: Authority::Complete, .. }));
    script.expect(&watch_from(7, 55)).await;
}

#[tokio::test]
async fn a_watch_is_silent_no_longer_than_is_wanted() {
    for (wanted, asked) in [(20, 20), (0, 1), (500, 55)] {
        let mut script = Script::start().await;
        let watch_wait = Some(std::time::Duration::from_secs(wanted));
        let _source = source::start(SourceConfig { watch_wait, ..config(&script) });
        script.expect("GET /v1/snapshot").await.answer(200, NDJSON, &snapshot(1, 7, &[]));
        script.expect(&watch_from(7, asked)).await;
    }
}
