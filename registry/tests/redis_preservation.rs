//! Self-preservation of several replicas on one Redis: what trips it, what it keeps, and each of its ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::time::Duration;

use redis_support::{Replica, Server, draining, eventually, registration};
use tokio::time::Instant;
use vertice_registry_api::SourceState::{Preserving, Serving};
use vertice_registry_api::{InstanceId, ServiceName};

const NAME: &str = "osint_service";

/// Two replicas with twenty instances, `x0` to `x19`.
struct Fleet {
    server: Server,
    a: Replica,
    b: Replica,
    generations: Vec<u64>,
}

impl Fleet {
    async fn new() -> Self {
        let server = Server::start(&[]).await;
        let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
        let mut generations = Vec::new();
        for n in 0..20 {
            generations.push(a.registered(NAME, &format!("x{n}"), 1).await);
        }
        eventually("followed", || b.count() == 20).await;
        Self { server, a, b, generations }
    }

    /// Twelve leases run out: five go on time, `x5` to `x11` are kept and marked.
    async fn cut_off() -> Self {
        let fleet = Self::new().await;
        for n in 0..12 {
            fleet.run_out(n);
        }
        for replica in [&fleet.a, &fleet.b] {
            eventually("preserving", || replica.state() == Preserving && replica.stale().len() == 7).await;
            assert_eq!(replica.count(), 15);
            assert_eq!(replica.read(|store| store.stats().expired_total), 5);
        }
        fleet
    }

    fn member(&self, n: usize) -> String {
        format!("{:020}:{NAME}/x{n}", self.generations[n])
    }

    /// In one step for all that is asked for before the next sweep, the first one first.
    fn run_out(&self, n: usize) {
        self.server.call::<i64>(&["ZADD", "vertice:leases", &(n + 1).to_string(), &self.member(n)]);
    }

    fn now_s(&self) -> u64 {
        self.server.call::<Vec<u64>>(&["TIME"])[0]
    }

    async fn beat(&self, at: &Replica, n: usize) {
        at.beat(NAME, &format!("x{n}"), self.generations[n]).await.unwrap();
    }

    fn both(&self, met: impl Fn(&Replica) -> bool) -> bool {
        [&self.a, &self.b].into_iter().all(met)
    }
}

#[tokio::test]
async fn what_runs_out_beyond_the_limit_is_marked_and_a_heartbeat_anywhere_takes_the_mark_back() {
    let fleet = Fleet::cut_off().await;
    let generation = fleet.generations[7];
    fleet.beat(&fleet.b, 7).await;
    eventually("fresh at both", || fleet.both(|r| r.stale().len() == 6)).await;
    assert!(fleet.both(|r| r.has(NAME, "x7", generation)), "the generation stays");
    let lease: f64 = fleet.server.call(&["ZSCORE", "vertice:leases", &fleet.member(7)]);
    assert!(lease > 1000.0, "its lease is one again");
    // The same registration again does it, too; another change does not.
    fleet.a.registered(NAME, "x8", 1).await;
    fleet.a.patch(NAME, "x9", fleet.generations[9], draining()).await.unwrap();
    let stale = ["x10", "x11", "x5", "x6", "x9"];
    eventually("five at both", || fleet.both(|r| r.stale() == stale)).await;
    eventually("equal", || fleet.a.fingerprint() == fleet.b.fingerprint()).await;
    let kept: Vec<String> = fleet.server.call(&["ZRANGE", "vertice:stale", "0", "-1"]);
    assert_eq!(kept.len(), 5);
    assert_eq!(fleet.a.state(), Preserving, "it does not end before it was calm for a while");
}

#[tokio::test]
async fn a_replica_that_comes_later_preserves_with_the_others() {
    let fleet = Fleet::cut_off().await;
    let late = Replica::start(&fleet.server.address());
    eventually("preserving", || late.state() == Preserving).await;
    assert_eq!(late.fingerprint(), fleet.a.fingerprint());
    fleet.run_out(12);
    eventually("marked", || late.stale().len() == 8).await;
    assert_eq!(late.count(), 15);
}

#[tokio::test]
async fn it_ends_when_the_losses_were_below_the_limit_for_a_minute() {
    let fleet = Fleet::cut_off().await;
    // The expired ones count for a minute, too.
    for replica in [&fleet.a, &fleet.b] {
        replica.passes(Duration::from_secs(61));
    }
    for n in 5..10 {
        fleet.beat(&fleet.a, n).await;
    }
    eventually("fresh", || fleet.both(|r| r.stale().len() == 2)).await;
    assert_eq!(fleet.a.state(), Preserving);
    let calm = || {
        fleet.a.passes(Duration::from_secs(1));
        fleet.both(|r| r.state() == Serving)
    };
    eventually("it ends at both, as soon as one has seen a calm minute", calm).await;
    eventually("who was not heard goes", || fleet.both(|r| r.count() == 13 && r.stale().is_empty())).await;
}

#[tokio::test]
async fn an_operator_at_any_replica_ends_it_and_the_stale_go_at_a_bounded_rate() {
    let fleet = Fleet::cut_off().await;
    assert_eq!(fleet.b.redis.release(&*fleet.b.memory).await, Some(true));
    assert_eq!(fleet.a.redis.release(&*fleet.a.memory).await, Some(false), "there is nothing more to end");
    let start = Instant::now();
    // It does not begin again before the losses were below the limit: what runs out now goes, and is not marked.
    fleet.run_out(12);
    eventually("all go", || fleet.both(|r| r.stale().is_empty() && r.count() == 7)).await;
    assert_eq!(fleet.server.call::<usize>(&["ZCARD", "vertice:expired"]), 6);
    // One stale one in each second of Redis's clock, by both replicas together.
    assert!(start.elapsed() > Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(fleet.both(|r| r.state() == Serving));
}

#[tokio::test]
async fn a_stale_lease_lasts_ten_minutes_and_all_of_it_a_quarter_of_an_hour() {
    let fleet = Fleet::cut_off().await;
    let at = |ago_s: u64| ((fleet.now_s() - ago_s) * 1000).to_string();
    fleet.server.call::<i64>(&["ZADD", "vertice:stale", &at(601), &fleet.member(5)]);
    eventually("the one", || fleet.both(|r| r.count() == 14)).await;
    assert!(fleet.both(|r| r.state() == Preserving && r.get(NAME, "x5").is_none()));
    let phase = format!("preserving {}", at(901));
    fleet.server.call::<i64>(&["HSET", "vertice:meta", "phase", &phase]);
    eventually("over", || fleet.both(|r| r.state() == Serving && r.stale().is_empty())).await;
    assert_eq!(fleet.a.count(), 8);
}

#[tokio::test]
async fn a_proof_of_death_at_any_replica_removes_what_is_stale_and_only_that() {
    let fleet = Fleet::cut_off().await;
    let service = ServiceName::parse(NAME).unwrap();
    let dead = |n: usize, generation: u64| {
        (service.clone(), InstanceId::parse(&format!("x{n}")).unwrap(), generation)
    };
    let of = |n: usize| dead(n, fleet.generations[n]);
    let told = [of(5), of(6), of(15), dead(7, fleet.generations[7] - 1), dead(99, 5)];
    assert_eq!(fleet.b.redis.proven_dead(&*fleet.b.memory, &told).await, 2);
    eventually("gone", || fleet.both(|r| r.stale() == ["x10", "x11", "x7", "x8", "x9"])).await;
    assert!(fleet.both(|r| r.count() == 13));
    // One that was heard, of which Redis knows and this replica does not yet.
    fleet.server.call::<i64>(&["ZREM", "vertice:stale", &fleet.member(8)]);
    assert_eq!(fleet.a.redis.proven_dead(&*fleet.a.memory, &[of(8)]).await, 0);
}

#[tokio::test]
async fn half_a_zone_is_kept_however_small_its_share() {
    let server = Server::start(&[]).await;
    let a = Replica::serving(&server.address()).await;
    let mut members = Vec::new();
    for n in 0..48 {
        let mut wanted = registration(NAME, &format!("x{n}"), 1);
        wanted.zone = Some(if n < 8 { "small".into() } else { "large".into() });
        let me = redis_support::ME;
        let (done, _) = a.redis.register(&*a.memory, &wanted, me, 0).await.unwrap();
        members.push(format!("{:020}:{NAME}/x{n}", done.generation));
    }
    for (n, member) in members[..6].iter().enumerate() {
        server.call::<i64>(&["ZADD", "vertice:leases", &(n + 1).to_string(), member]);
    }
    eventually("half of it went, the rest is marked", || a.count() == 44 && a.stale().len() == 2).await;
    assert_eq!(a.state(), Preserving);
}

#[tokio::test]
async fn a_stale_instance_that_is_heard_while_redis_is_away_is_fresh_here_and_afterwards_there() {
    let mut fleet = Fleet::cut_off().await;
    fleet.server.kill();
    fleet.beat(&fleet.a, 6).await;
    eventually("fresh", || fleet.a.get(NAME, "x6").is_some_and(|x| !x.stale)).await;
    fleet.server.restart().await;
    for replica in [&fleet.a, &fleet.b] {
        eventually("in step", || replica.get(NAME, "x6").is_some_and(|x| !x.stale)).await;
        eventually("the others stay marked", || replica.stale().len() == 6).await;
    }
}
