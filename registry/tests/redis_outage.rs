//! Redis dies, hangs, forgets, comes back older: what replicas serve meanwhile, and what is there afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::time::Duration;

use redis_support::{Replica, Server, draining, eventually, free_port};
use rustix::process::Signal;
use tokio::time::Instant;
use vertice_registry::store::Refusal;
use vertice_registry_api::{SourceState, Status};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The longest that a write may take while Redis hangs: a call's deadline, and room for a busy machine.
const WRITE: Duration = Duration::from_secs(3);

async fn degraded(replica: &Replica) {
    eventually("degraded", || replica.state() == SourceState::Degraded).await;
}

async fn in_step(replicas: &[&Replica]) {
    for replica in replicas {
        eventually("serving", || replica.state() == SourceState::Serving).await;
    }
    eventually("equal", || replicas.iter().all(|r| r.fingerprint() == replicas[0].fingerprint())).await;
}

#[tokio::test]
async fn killed_and_back_with_its_data() {
    let mut server = Server::start(&DURABLE).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let kept = a.registered("osint_service", "kept", 1).await;
    let changed = a.registered("osint_service", "changed", 1).await;
    let removed = a.registered("osint_service", "removed", 1).await;
    eventually("followed", || b.count() == 3).await;
    let before = a.position();
    server.kill();
    degraded(&a).await;
    degraded(&b).await;
    assert_eq!((a.count(), a.position()), (3, before), "reads go on, and nothing changed");
    a.beat("osint_service", "kept", kept).await.unwrap();
    let alone = a.registered("osint_service", "alone", 1).await;
    assert!(alone > removed, "a generation is never given twice");
    assert_ne!(a.position().epoch, before.epoch, "what happened here only has an epoch of its own");
    a.patch("osint_service", "changed", changed, draining()).await.unwrap();
    assert_eq!(b.deregister("osint_service", "removed", removed).await, Ok(true));
    assert_eq!(b.deregister("osint_service", "removed", removed).await, Ok(false));
    assert_eq!(a.beat("osint_service", "nobody", 5).await, Err(Refusal::Unknown));
    server.restart().await;
    eventually("warming", || a.state() == SourceState::Warming).await;
    in_step(&[&a, &b]).await;
    assert_ne!(a.position().epoch, before.epoch, "a restart is a new epoch");
    for replica in [&a, &b] {
        assert!(replica.has("osint_service", "kept", kept) && replica.has("osint_service", "alone", alone));
        let changed = replica.get("osint_service", "changed").unwrap();
        assert_eq!(changed.status, Status::Draining);
        assert_eq!(replica.get("osint_service", "removed"), None);
        assert_eq!(replica.count(), 3);
    }
    a.registered("osint_service", "after", 1).await;
    in_step(&[&a, &b]).await;
}

#[tokio::test]
async fn killed_and_back_with_nothing() {
    let mut server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let mut generations = Vec::new();
    for n in 0..300 {
        generations.push(a.registered("osint_service", &format!("x{n}"), 1).await);
    }
    eventually("followed", || b.count() == 300).await;
    server.restart().await;
    in_step(&[&a, &b]).await;
    assert_eq!(server.call::<usize>(&["HLEN", "vertice:instances"]), 300);
    assert_eq!(server.call::<usize>(&["ZCARD", "vertice:leases"]), 300);
    for replica in [&a, &b] {
        for (n, generation) in generations.iter().enumerate() {
            assert!(replica.has("osint_service", &format!("x{n}"), *generation), "x{n}");
        }
    }
    let later = b.registered("osint_service", "later", 1).await;
    assert!(generations.iter().all(|generation| *generation < later));
}

#[tokio::test]
async fn flushed_under_a_living_link() {
    let server = Server::start(&[]).await;
    let a = Replica::serving(&server.address()).await;
    let generation = a.registered("osint_service", "x", 1).await;
    let epoch = a.position().epoch;
    server.call::<String>(&["FLUSHALL"]);
    eventually("another epoch", || a.position().epoch != epoch).await;
    eventually("asserted", || server.call::<usize>(&["HLEN", "vertice:instances"]) == 1).await;
    assert!(a.has("osint_service", "x", generation));
}

#[tokio::test]
async fn stopped_for_a_while_costs_no_read_and_no_heartbeat() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let generation = a.registered("osint_service", "x", 1).await;
    eventually("followed", || b.count() == 1).await;
    let before = a.position();
    server.signal(Signal::STOP);
    // The first write finds it out, within its deadline; the answer is yes.
    let start = Instant::now();
    let alone = a.registered("osint_service", "alone", 1).await;
    assert!(start.elapsed() < WRITE, "{:?}", start.elapsed());
    assert_eq!(a.state(), SourceState::Degraded);
    // Those after it do not wait at all, and neither do reads and heartbeats.
    let start = Instant::now();
    for n in 0..100 {
        a.registered("osint_service", &format!("n{n}"), 1).await;
        a.beat("osint_service", "x", generation).await.unwrap();
        assert!(a.get("osint_service", "x").is_some());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    degraded(&b).await;
    assert_eq!(b.count(), 1);
    server.signal(Signal::CONT);
    in_step(&[&a, &b]).await;
    assert_eq!(b.count(), 102);
    // The call that was answered too late was done, with the generation that its writer was told.
    assert!(b.has("osint_service", "alone", alone) && b.has("osint_service", "x", generation));
    assert_eq!(a.position().epoch, before.epoch, "the same Redis: nothing of before means anything else now");
}

#[tokio::test]
async fn a_standstill_of_redis_expires_nobody() {
    let server = Server::start(&[]).await;
    let a = Replica::with(&server.address(), |settings| settings.grace = Duration::from_secs(3));
    eventually("serving", || a.state() == SourceState::Serving).await;
    let generation = a.registered("osint_service", "x", 1).await;
    // As if nobody had swept for ten minutes, and the lease had run out in that time.
    let member = format!("{generation:020}:osint_service/x");
    redis::pipe()
        .atomic()
        .cmd("ZADD")
        .arg("vertice:leases")
        .arg(1)
        .arg(&member)
        .cmd("HINCRBYFLOAT")
        .arg("vertice:meta")
        .arg("swept_at")
        .arg(-600_000)
        .exec(&mut server.client())
        .unwrap();
    eventually("warming", || a.state() == SourceState::Warming).await;
    assert!(a.has("osint_service", "x", generation));
    a.beat("osint_service", "x", generation).await.unwrap();
    eventually("serving", || a.state() == SourceState::Serving).await;
    assert!(a.has("osint_service", "x", generation), "heard within the grace");
}

#[tokio::test]
async fn an_old_dump_brings_nothing_back_and_loses_nothing() {
    let mut server = Server::start(&["--dbfilename", "dump.rdb"]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let removed = a.registered("osint_service", "removed", 1).await;
    let taken = a.registered("osint_service", "taken", 1).await;
    let changed = a.registered("osint_service", "changed", 1).await;
    server.call::<String>(&["SAVE"]);
    let old = std::fs::read(server.file("dump.rdb")).unwrap();
    assert_eq!(a.deregister("osint_service", "removed", removed).await, Ok(true));
    let taken_over = b.registered("osint_service", "taken", 2).await;
    a.patch("osint_service", "changed", changed, draining()).await.unwrap();
    let new = b.registered("osint_service", "new", 1).await;
    in_step(&[&a, &b]).await;
    let before = a.position();
    server.kill();
    std::fs::write(server.file("dump.rdb"), old).unwrap();
    server.restart().await;
    in_step(&[&a, &b]).await;
    let after = a.position();
    assert!(after.epoch != before.epoch && after.revision > before.revision);
    for replica in [&a, &b] {
        assert_eq!(replica.get("osint_service", "removed"), None, "a removal is said again");
        assert!(replica.has("osint_service", "taken", taken_over), "the old generation does not come back");
        assert!(replica.has("osint_service", "new", new));
        assert_eq!(replica.get("osint_service", "changed").unwrap().status, Status::Draining);
        assert_eq!(replica.count(), 3);
    }
    assert!(taken < taken_over);
    assert_eq!(a.beat("osint_service", "taken", taken).await, Err(Refusal::OldGeneration));
}

#[tokio::test]
async fn it_serves_before_redis_is_there_and_tells_it_later() {
    let port = free_port();
    let early = Replica::start(&format!("redis://127.0.0.1:{port}"));
    let generation = early.registered("osint_service", "x", 1).await;
    assert_eq!((early.state(), early.count()), (SourceState::Degraded, 1));
    let server = Server::start_at(port, &[]).await;
    in_step(&[&early]).await;
    let late = Replica::serving(&server.address()).await;
    assert!(late.has("osint_service", "x", generation));
}

#[tokio::test]
async fn what_redis_lost_without_a_word_comes_back_with_its_heartbeats() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let heard = a.registered("osint_service", "heard", 1).await;
    let silent = a.registered("osint_service", "silent", 1).await;
    eventually("followed", || b.count() == 2).await;
    for (id, generation) in [("heard", heard), ("silent", silent)] {
        let key = format!("osint_service/{id}");
        server.call::<i64>(&["HDEL", "vertice:instances", &key]);
        server.call::<i64>(&["ZREM", "vertice:leases", &format!("{generation:020}:{key}")]);
    }
    let known = || server.call::<bool>(&["HEXISTS", "vertice:instances", "osint_service/heard"]);
    let beating = async {
        while !known() {
            b.beat("osint_service", "heard", heard).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(redis_support::SOON, beating).await.expect("asserted again");
    assert!(b.has("osint_service", "heard", heard));
    eventually("what nobody hears is not asserted", || !b.has("osint_service", "silent", silent)).await;
}
