//! A registry of the five old calls, played by the test: what is read, how often, and what is made of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::{Script, event, instance, name, snapshot, start};
use vertice_registry_client::{Authority, Event, SetChange, Source, SourceError, SourceKind};

/// A source that has found the old calls and got this list.
async fn polling(script: &mut Script, names: &[&str]) -> Source {
    let mut source = start(script);
    script.expect("GET /v1/snapshot").await.answer_json(404, &json!({"detail": "Not Found"}));
    script.expect("GET /services").await.answer_json(200, &json!(names));
    assert_eq!(event(&mut source).await, Event::Identified(SourceKind::Polled));
    assert!(matches!(event(&mut source).await, Event::Alive { position: None, .. }));
    source
}

fn record(service: &str, endpoint: &str) -> serde_json::Value {
    json!({"service_name": service, "endpoint": endpoint, "health_endpoint": "/health", "metadata": {},
        "registered_at": 1_700_000_000.5, "last_heartbeat": 1_700_000_001.0, "ttl_remaining": 59})
}

/// Service names of a whole read, and the unread ones.
fn whole(event: Event) -> (Vec<String>, BTreeSet<String>) {
    let Event::Replaced { instances, unread, position: None, authority: Authority::Partial, .. } = event
    else {
        panic!("{event:?}");
    };
    let names = instances.iter().map(|i| i.service.to_string()).collect();
    (names, unread.iter().map(ToString::to_string).collect())
}

/// Takes all events: a source waits for a consumer that is behind.
fn consume(mut source: Source) {
    tokio::spawn(async move { while source.next().await.is_some() {} });
}

/// The next event of another sort than rejects, proofs of life and unchanged whole reads.
async fn news(source: &mut Source) -> Event {
    loop {
        match event(source).await {
            Event::Alive { .. } | Event::Rejected { .. } | Event::Replaced { .. } => {}
            other @ (Event::Identified(_) | Event::Changed { .. } | Event::Failed { .. }) => return other,
        }
    }
}

#[tokio::test]
async fn each_name_is_read_once_and_then_all_is_one_whole_read() {
    let mut script = Script::start().await;
    let mut source = polling(&mut script, &["alpha", "beta", "gone", "Bad Name", "", "../x"]).await;
    // The list may be read again in between; what counts is who else is asked for.
    let mut reads = Vec::new();
    while reads.len() < 3 {
        let asked = script.next().await;
        if asked.path == "/services" {
            asked.answer_json(200, &json!(["alpha", "beta", "gone", "Bad Name", "", "../x"]));
        } else {
            reads.push(asked);
        }
    }
    let mut paths: Vec<_> = reads.iter().map(support::Asked::line).collect();
    paths.sort();
    assert_eq!(paths, ["GET /services/alpha", "GET /services/beta", "GET /services/gone"]);
    for asked in reads {
        let answer = record(asked.path.rsplit('/').next().unwrap(), "http://h:1");
        if asked.path.ends_with("gone") {
            asked.answer_json(404, &json!({"detail": "not found"}));
        } else {
            asked.answer_json(200, &answer);
        }
    }
    let mut upserted = BTreeSet::new();
    let mut rejected = None;
    let (names, unread) = loop {
        let event = tokio::select! {
            event = event(&mut source) => event,
            asked = script.next() => {
                assert_eq!(asked.path, "/services", "a name is read again");
                asked.answer_json(200, &json!(["alpha", "beta", "gone", "Bad Name", "", "../x"]));
                continue;
            }
        };
        match event {
            Event::Changed { changes, .. } => {
                for change in changes {
                    let SetChange::Upsert(instance) = change else { panic!("{change:?}") };
                    assert!(instance.instance_id.is_legacy());
                    upserted.insert(instance.service.to_string());
                }
            }
            event @ Event::Replaced { .. } => break whole(event),
            Event::Rejected { rejects, total } => rejected = Some((rejects.len(), total)),
            Event::Alive { .. } => {}
            other @ (Event::Identified(_) | Event::Failed { .. }) => panic!("{other:?}"),
        }
    };
    assert_eq!(names, ["alpha", "beta"]);
    assert!(unread.is_empty());
    assert_eq!(upserted.into_iter().collect::<Vec<_>>(), ["alpha", "beta"]);
    // Said once, before the whole read or right after it.
    while rejected.is_none() {
        if let Event::Rejected { rejects, total } = event(&mut source).await {
            rejected = Some((rejects.len(), total));
        }
    }
    assert_eq!(rejected, Some((3, 3)));
}

#[tokio::test]
async fn one_name_that_fails_is_unread_and_the_others_go_on() {
    let mut script = Script::start().await;
    let list = json!(["alpha", "beta"]);
    let mut source = polling(&mut script, &["alpha", "beta"]).await;
    let script_runs = tokio::spawn(async move {
        loop {
            let asked = script.next().await;
            match asked.path.as_str() {
                "/services" => asked.answer_json(200, &list),
                "/services/alpha" => asked.answer_json(200, &record("alpha", "http://h:1")),
                "/services/beta" => {
                    asked.answer(500, "text/plain", "argument after ** must be a mapping, not tuple");
                }
                other => panic!("{other}"),
            }
        }
    });
    // Whole after the failing name was tried three times, or else never.
    let event = loop {
        let event = event(&mut source).await;
        if matches!(event, Event::Replaced { .. }) {
            break event;
        }
    };
    assert_eq!(whole(event), (vec!["alpha".into()], BTreeSet::from(["beta".to_owned()])));
    script_runs.abort();
}

#[tokio::test]
async fn no_more_than_eight_reads_at_once() {
    let mut script = Script::start().await;
    let names: Vec<_> = (0..30).map(|n| format!("service_{n:02}")).collect();
    let list: Vec<_> = names.iter().map(String::as_str).collect();
    consume(polling(&mut script, &list).await);
    let mut open = Vec::new();
    let mut seen = 0;
    while seen < names.len() {
        let asked = script.next().await;
        if asked.path == "/services" {
            asked.answer_json(200, &json!(list));
            continue;
        }
        seen += 1;
        open.push(asked);
        assert!(open.len() <= 8, "{} reads at once", open.len());
        // Answers the oldest only when all eight are under way (or no more are to come).
        if open.len() == 8 {
            let first = open.remove(0);
            let service = first.path.rsplit('/').next().unwrap().to_owned();
            first.answer_json(200, &record(&service, "http://h:1"));
        }
    }
}

#[tokio::test]
async fn a_502_stops_the_reads_until_one_answers() {
    let mut script = Script::start().await;
    let names: Vec<_> = (0..30).map(|n| format!("service_{n:02}")).collect();
    let list: Vec<_> = names.iter().map(String::as_str).collect();
    consume(polling(&mut script, &list).await);
    let mut reads = 0;
    let mut lists = 0;
    // Twelve lists at 50 ms are over before the first pause of a second.
    while lists < 12 {
        let asked = script.next().await;
        if asked.path == "/services" {
            lists += 1;
            asked.answer_json(200, &json!(list));
        } else {
            reads += 1;
            asked.answer(502, "text/html", "<html>");
        }
    }
    assert!(reads <= 16, "{reads} reads of 30 names that cannot be read");
}

#[tokio::test]
async fn when_the_list_fails_the_kind_is_asked_again() {
    let mut script = Script::start().await;
    let mut source = polling(&mut script, &[]).await;
    script.expect("GET /services").await.answer(500, "text/plain", "");
    assert!(matches!(news(&mut source).await, Event::Failed { error: SourceError::Status(500), .. }));
    script.expect("GET /v1/snapshot").await.answer(502, "text/html", "<html>");
    assert!(matches!(news(&mut source).await, Event::Failed { error: SourceError::Status(502), .. }));
    let ours = snapshot(1, 1, &[instance("alpha", "a:1")]);
    script.expect("GET /v1/snapshot").await.answer(200, "application/x-ndjson", &ours);
    assert_eq!(news(&mut source).await, Event::Identified(SourceKind::Watched));
    let Event::Replaced { instances, .. } = event(&mut source).await else {
        panic!("a whole read was expected")
    };
    assert_eq!(instances[0].service, name("alpha"));
}
