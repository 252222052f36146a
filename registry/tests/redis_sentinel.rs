//! Failover by a Sentinel, under load, with and without `min-replicas`: what was acknowledged is counted afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use redis_support::{Replica, Server, eventually};
use rustix::process::Signal;
use tokio::time::Instant;
use vertice_registry_api::SourceState;

/// Registrations per second that are tried.
const RATE: u64 = 5_000;
/// Registrations in all: bounds the memory of the test.
const MOST: usize = 15_000;

struct Fleet {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl Fleet {
    async fn start(min_replicas: &str) -> Self {
        let always = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let guard = ["--min-replicas-to-write", min_replicas, "--min-replicas-max-lag", "2"];
        let master = Server::start(&[&always[..], &guard].concat()).await;
        let port = master.port.to_string();
        // The guard is the old master's: whoever is promoted is alone.
        let replica = Server::start(&[&always[..], &["--replicaof", "127.0.0.1", &port]].concat()).await;
        eventually("the replica is in sync", || replica.says("replication", "master_link_status:up")).await;
        eventually("the master sees it", || master.says("replication", "state=online")).await;
        let watch = format!("sentinel monitor main 127.0.0.1 {port} 1");
        let sentinel = Server::start(&[
            "--as-sentinel",
            &watch,
            "sentinel down-after-milliseconds main 1000",
            "sentinel failover-timeout main 2000",
        ])
        .await;
        let fleet = Self { master, replica, sentinel };
        eventually("the sentinel knows it", || fleet.sentinel.says("sentinel", "slaves=1")).await;
        fleet
    }

    fn address(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }

    fn promoted(&self) -> bool {
        self.replica.says("replication", "role:master")
    }
}

/// Registers at both replicas of ours until told to stop; `(service, id, generation)` of all that was acknowledged.
async fn load(
    replicas: Arc<[Replica; 2]>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<(String, u64)> {
    let mut calls = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) && number < MOST {
        ticks.tick().await;
        for _ in 0..RATE / 100 {
            let (replicas, acknowledged, id) = (replicas.clone(), acknowledged.clone(), format!("x{number}"));
            number += 1;
            calls.spawn(async move {
                let registered = replicas[number % 2].register("osint_service", &id, 1).await;
                registered.ok().map(|registered| {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    (id, registered.generation)
                })
            });
        }
    }
    calls.join_all().await.into_iter().flatten().collect()
}

/// Fails over under load; what was acknowledged, what of it the new master has, how long writes took at most.
async fn fail_over(min_replicas: &str, by: Signal) {
    let mut fleet = Fleet::start(min_replicas).await;
    let replicas =
        Arc::new([Replica::serving(&fleet.address()).await, Replica::serving(&fleet.address()).await]);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let loading = tokio::spawn(load(replicas.clone(), stop.clone(), acknowledged.clone()));
    eventually("some load", || acknowledged.load(Ordering::Relaxed) > 2_000).await;
    let start = Instant::now();
    let before = acknowledged.load(Ordering::Relaxed);
    fleet.master.signal(by);
    eventually("promoted", || fleet.promoted()).await;
    let promoted_after = start.elapsed();
    for replica in &*replicas {
        let back = || !matches!(replica.state(), SourceState::Degraded);
        eventually("back", back).await;
    }
    let back_after = start.elapsed();
    let during = acknowledged.load(Ordering::Relaxed) - before;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = loading.await.unwrap();
    eventually("equal", || {
        replicas.iter().all(|r| r.state() == SourceState::Serving)
            && replicas[0].fingerprint() == replicas[1].fingerprint()
    })
    .await;
    let held = || fleet.replica.asked::<usize>(&["HLEN", "vertice:instances"]);
    eventually("an answer", || held().is_some()).await;
    let in_redis = held().unwrap_or_default();
    let lost = acknowledged.iter().filter(|(id, g)| !replicas[0].has("osint_service", id, *g)).count();
    println!(
        "min-replicas-to-write {min_replicas}, {by:?}: {} acknowledged, {lost} lost; {during} of them during the {back_after:?} \
         until both replicas were back (promoted after {promoted_after:?}); {in_redis} in the new master",
        acknowledged.len()
    );
    assert_eq!(
        (lost, in_redis),
        (0, acknowledged.len()),
        "nothing that was acknowledged is lost, and nothing else is there"
    );
    // The old master comes back as what it is: nobody writes to it.
    if by == Signal::STOP {
        fleet.master.signal(Signal::CONT);
    } else {
        fleet.master.restart().await;
    }
    // The Sentinel that reconfigures it cuts its connections.
    eventually("demoted", || fleet.master.says("replication", "role:slave")).await;
    let generation = replicas[1].registered("osint_service", "after", 1).await;
    eventually("after", || replicas[0].has("osint_service", "after", generation)).await;
    eventually("after, in Redis", || held() == Some(in_redis + 1)).await;
}

#[tokio::test]
async fn the_master_dies_without_min_replicas() {
    fail_over("0", Signal::KILL).await;
}

#[tokio::test]
async fn the_master_dies_with_min_replicas() {
    fail_over("1", Signal::KILL).await;
}

#[tokio::test]
async fn the_master_hangs_with_min_replicas() {
    fail_over("1", Signal::STOP).await;
}

#[tokio::test]
async fn a_master_without_its_replicas_takes_nothing_and_loses_nothing() {
    let fleet = Fleet::start("1").await;
    let a = Replica::serving(&fleet.address()).await;
    a.registered("osint_service", "before", 1).await;
    fleet.replica.signal(Signal::STOP);
    let refuses = || {
        let mut client = fleet.master.client();
        redis::cmd("SET").arg("probe").arg(1).exec(&mut client).is_err()
    };
    eventually("the master refuses writes", refuses).await;
    let generation = a.registered("osint_service", "meanwhile", 1).await;
    assert_eq!((a.state(), a.count()), (SourceState::Degraded, 2));
    fleet.replica.signal(Signal::CONT);
    let key = "osint_service/meanwhile";
    eventually("asserted", || fleet.master.asked(&["HEXISTS", "vertice:instances", key]) == Some(true)).await;
    assert!(a.has("osint_service", "meanwhile", generation));
}
