//! Side by side with replicas of the original on one Redis: each side's keys, read and written as it does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::collections::HashMap;

use redis_support::{ME, Replica, Server, eventually, registration};
use vertice_registry_api::{Metadata, SourceState};

async fn serving(server: &Server) -> Replica {
    let replica = Replica::with(&server.address(), |settings| settings.legacy = true);
    eventually("serving", || replica.state() == SourceState::Serving).await;
    replica
}

/// What the original's register does: MULTI, HSET, EXPIRE, SADD.
fn old_register(server: &Server, name: &str, endpoint: &str, metadata: &str) {
    redis::pipe()
        .atomic()
        .cmd("HSET")
        .arg(format!("services:{name}"))
        .arg(&["endpoint", endpoint, "health_endpoint", "/health", "metadata", metadata])
        .arg(&["registered_at", "1795458992.1330001", "last_heartbeat", "1795458992.1330001"])
        .cmd("EXPIRE")
        .arg(format!("services:{name}"))
        .arg(60)
        .cmd("SADD")
        .arg("services:index")
        .arg(name)
        .exec(&mut server.client())
        .unwrap();
}

fn hash(server: &Server, name: &str) -> HashMap<String, String> {
    server.call(&["HGETALL", &format!("services:{name}")])
}

fn shows(replica: &Replica, name: &str, url: &str) -> bool {
    replica.get(name, "@legacy").is_some_and(|instance| instance.url.to_string() == url)
}

#[tokio::test]
async fn what_an_old_replica_wrote_is_served_and_goes_with_it() {
    let server = Server::start(&[]).await;
    let (a, b) = (serving(&server).await, serving(&server).await);
    old_register(
        &server,
        "osint_service",
        "http://vertice-osint:8036",
        "{'version': '2.1', 'note': \"it's\"}",
    );
    for replica in [&a, &b] {
        eventually("taken over", || shows(replica, "osint_service", "http://vertice-osint:8036")).await;
        let instance = replica.get("osint_service", "@legacy").unwrap();
        assert_eq!(
            (instance.metadata.get("version"), instance.metadata.get("note")),
            (Some("2.1"), Some("it's"))
        );
    }
    let before = hash(&server, "osint_service");
    // A second endpoint replaces the first, as it does there.
    old_register(&server, "osint_service", "http://other:80", "{}");
    eventually("replaced", || shows(&a, "osint_service", "http://other:80")).await;
    assert_eq!(before["registered_at"], "1795458992.1330001", "theirs is not written by us");
    // Its lease there is its lease here, however long ago ours ran out.
    let generation = a.get("osint_service", "@legacy").unwrap().generation;
    let member = format!("{generation:020}:osint_service/@legacy");
    server.call::<i64>(&["ZADD", "vertice:leases", "1", &member]);
    eventually("extended", || server.call::<f64>(&["ZSCORE", "vertice:leases", &member]) > 1.0).await;
    assert!(shows(&a, "osint_service", "http://other:80"));
    // The original's deregister: DEL and SREM.
    redis::pipe()
        .atomic()
        .cmd("DEL")
        .arg("services:osint_service")
        .cmd("SREM")
        .arg("services:index")
        .arg("osint_service")
        .exec(&mut server.client())
        .unwrap();
    for replica in [&a, &b] {
        eventually("gone", || replica.count() == 0).await;
    }
    eventually("equal", || a.fingerprint() == b.fingerprint()).await;
}

#[tokio::test]
async fn ours_is_written_as_the_original_reads_it() {
    let server = Server::start(&[]).await;
    let a = serving(&server).await;
    let mut wanted = registration("osint_service", "@legacy", 0);
    wanted.metadata = Metadata::new([("note".to_owned(), "it's \u{e9}\n".to_owned())].into()).unwrap();
    a.redis.register(&*a.memory, &wanted, ME, 1_795_458_992_133).await.unwrap();
    a.registered("osint_service", "host:80", 1).await;
    let written = hash(&server, "osint_service");
    assert_eq!(written["endpoint"], "http://h:80");
    assert_eq!(written["health_endpoint"], "/health");
    assert_eq!(written["metadata"], r"{'note': 'it\'s \xe9\n'}");
    assert_eq!(written["registered_at"], "1795458992.133");
    assert!(written["last_heartbeat"].parse::<f64>().is_ok_and(|at| at > 1e9), "{written:?}");
    assert_eq!(server.call::<Vec<String>>(&["SMEMBERS", "services:index"]), ["osint_service"]);
    let ttl = || server.call::<i64>(&["TTL", "services:osint_service"]);
    assert!((55..=60).contains(&ttl()));
    // Our heartbeat keeps it there.
    server.call::<i64>(&["EXPIRE", "services:osint_service", "20"]);
    a.redis.beat(&*a.memory, "osint_service", "@legacy", None).await.unwrap();
    eventually("renewed there", || ttl() > 50).await;
    // What it lost is shown again with the next heartbeat.
    server.call::<i64>(&["DEL", "services:osint_service"]);
    a.redis.beat(&*a.memory, "osint_service", "@legacy", None).await.unwrap();
    eventually("published again", || hash(&server, "osint_service").contains_key("endpoint")).await;
    a.redis.deregister(&*a.memory, "osint_service", "@legacy", None).await.unwrap();
    assert!(hash(&server, "osint_service").is_empty());
    assert!(server.call::<Vec<String>>(&["SMEMBERS", "services:index"]).is_empty());
    assert_eq!(a.count(), 1, "the other instance is none of theirs");
}

#[tokio::test]
async fn what_cannot_be_ours_harms_nobody() {
    let server = Server::start(&[]).await;
    let a = serving(&server).await;
    // Any string registers there; a hash without an endpoint is left by a race; the index outlives its hashes.
    old_register(&server, "a/b", "http://h:1", "{}");
    old_register(&server, "", "http://h:1", "{}");
    old_register(&server, "bad_url", "not a url", "{}");
    old_register(&server, "evil", "http://h:1", "__import__('os').system('touch /tmp/x')");
    server.call::<i64>(&["HSET", "services:race", "last_heartbeat", "1.0"]);
    server.call::<i64>(&["SADD", "services:index", "race", "expired"]);
    old_register(&server, "good_one", "http://h:1", "{'a': 'b'}");
    eventually("the good one", || a.count() == 1).await;
    assert!(shows(&a, "good_one", "http://h:1"));
    // The last good form stays when the entry turns bad.
    server.call::<i64>(&["HSET", "services:good_one", "metadata", "{broken"]);
    old_register(&server, "marker", "http://h:2", "{}");
    eventually("another look", || shows(&a, "marker", "http://h:2")).await;
    assert!(shows(&a, "good_one", "http://h:1"));
    assert_eq!(a.state(), SourceState::Serving);
}

#[tokio::test]
async fn switching_it_on_shows_them_what_we_have() {
    let server = Server::start(&[]).await;
    let before = Replica::serving(&server.address()).await;
    before.registered("osint_service", "@legacy", 0).await;
    assert!(hash(&server, "osint_service").is_empty());
    let _with = serving(&server).await;
    eventually("published", || hash(&server, "osint_service").contains_key("endpoint")).await;
    assert_eq!(before.count(), 1);
}
