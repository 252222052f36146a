//! The watch as server-sent events: a snapshot, then changes, resumed by id, reset when it cannot be.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::support::Registry;

struct Events {
    body: Incoming,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Events {
    async fn open(registry: &Registry, last: Option<&str>) -> Self {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.map(|id| ("last-event-id", id)));
        let response = registry.send("GET", "/v1/watch", &headers, "").await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                let text = std::mem::replace(&mut self.text, rest);
                let field = |name: &str| {
                    text.lines()
                        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                        .map(str::to_owned)
                };
                let data = serde_json::from_str(&field("data").unwrap()).unwrap();
                return Some(Event { name: field("event").unwrap(), id: field("id"), data });
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}

#[tokio::test]
async fn a_snapshot_then_changes_each_with_its_id() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    let mut events = Events::open(&registry, None).await;
    let begin = events.expect("snapshot-begin").await;
    assert!(begin.id.is_none(), "who breaks off here must not resume from here");
    let epoch = begin.data["epoch"].as_str().unwrap().to_owned();
    let first = events.expect("change").await;
    assert_eq!((first.id, &first.data["instance"]["instance_id"]), (None, &Value::from("h:1")));
    let end = events.expect("snapshot-end").await;
    assert_eq!((end.id.unwrap(), &end.data["count"]), (format!("{epoch}-1"), &Value::from(1)));

    registry.put("osint_service", "h:2", "").await;
    let change = events.expect("change").await;
    assert_eq!(change.id.unwrap(), format!("{epoch}-2"));
    assert_eq!((&change.data["op"], &change.data["revision"]), (&Value::from("upsert"), &Value::from(2)));
    let bookmark = events.expect("bookmark").await;
    assert_eq!(bookmark.id.unwrap(), format!("{epoch}-2"));
    let snapshot = registry.fingerprint().await;
    assert!(snapshot.contains(bookmark.data["digest"].as_str().unwrap()));
}

#[tokio::test]
async fn the_last_id_resumes_without_a_snapshot() {
    let registry = Registry::open().await;
    let put = registry.put("osint_service", "h:1", "").await;
    registry.put("osint_service", "h:2", "").await;
    let id = format!("{}-1", put["epoch"].as_str().unwrap());
    let mut events = Events::open(&registry, Some(&id)).await;
    let change = events.expect("change").await;
    assert_eq!(change.data["instance"]["instance_id"], "h:2");
}

#[tokio::test]
async fn an_id_that_is_not_in_the_log_is_reset_and_gets_a_snapshot() {
    let registry = Registry::open().await;
    registry.put("osint_service", "h:1", "").await;
    for id in [format!("{}-1", "0".repeat(32)), "junk".to_owned()] {
        let mut events = Events::open(&registry, Some(&id)).await;
        let reset = events.expect("reset").await;
        assert!(reset.data["epoch"].is_string() && reset.data["oldest"].is_u64());
        events.expect("snapshot-begin").await;
        events.expect("change").await;
        events.expect("snapshot-end").await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_bookmarks_and_a_new_state_is_told() {
    let registry = Registry::open().await;
    let mut events = Events::open(&registry, None).await;
    events.expect("snapshot-begin").await;
    events.expect("snapshot-end").await;
    let mut states = Vec::new();
    for _ in 0..10 {
        let waited = tokio::time::timeout(Duration::from_secs(15), events.expect("bookmark")).await;
        states.push(waited.expect("a bookmark within 15 s").data["state"].clone());
    }
    assert_eq!(states.first().unwrap(), "warming");
    assert_eq!(states.last().unwrap(), "serving");
}

/// The watcher does not read while the log goes past it.
#[tokio::test]
async fn a_slow_watcher_is_reset_and_still_ends_with_the_same_set() {
    let mut settings = vertice_registry::Settings::default();
    settings.limits.log_entries = 4;
    let registry = Registry::with(settings).await;
    let mut events = Events::open(&registry, None).await;
    events.expect("snapshot-begin").await;
    events.expect("snapshot-end").await;
    // Far more than sockets and buffers hold.
    let labels = format!(r#","metadata":{{"a":"{0}","b":"{0}","c":"{0}","d":"{0}"}}"#, "x".repeat(500));
    for n in 0..4_000 {
        registry
            .put("osint_service", &format!("h:{}", n % 50), &format!(r#"{labels},"weight":{}"#, n % 1000))
            .await;
    }
    let mut set = std::collections::BTreeMap::new();
    let mut resets = 0;
    loop {
        let event = events.next().await.expect("an event");
        match event.name.as_str() {
            "reset" => resets += 1,
            "snapshot-begin" => set.clear(),
            "change" => {
                let id = event.data["instance"]["instance_id"].as_str().unwrap().to_owned();
                set.insert(id, event.data["instance"]["weight"].clone());
            }
            "bookmark" | "snapshot-end" if event.id.as_ref().unwrap().ends_with("-4000") => break,
            _ => {}
        }
    }
    assert!(resets > 0, "the test did not make it slow enough");
    assert_eq!(set.len(), 50);
    assert_eq!(set["h:49"], 999);
}

#[tokio::test]
async fn streams_end_when_the_registry_stops() {
    let registry = Registry::open().await;
    let mut events = Events::open(&registry, None).await;
    events.expect("snapshot-begin").await;
    events.expect("snapshot-end").await;
    registry.trigger.pull();
    assert!(events.next().await.is_none());
}
