//! Two replicas on one Redis: what each sees of the other, who wins, and what is removed by whom.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::time::Duration;

use redis_support::{Replica, Server, draining, eventually};
use vertice_registry::store::{Patch, Refusal};
use vertice_registry_api::{SourceState, Status};

#[tokio::test]
async fn each_sees_the_others_changes_within_a_second_and_both_agree() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let generation = a.registered("osint_service", "x", 1).await;
    assert!(a.has("osint_service", "x", generation), "the writer reads its own write");
    let waited = eventually("a's registration at b", || b.has("osint_service", "x", generation)).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    b.patch("osint_service", "x", generation, draining()).await.unwrap();
    let drains = || a.get("osint_service", "x").is_some_and(|i| i.status == Status::Draining);
    let waited = eventually("b's patch at a", drains).await;
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    assert_eq!(b.deregister("osint_service", "x", generation).await, Ok(true));
    eventually("the removal at a", || a.count() == 0).await;
    eventually("equal", || a.fingerprint() == b.fingerprint()).await;
    // One revision per change: two of starting and three of ours.
    assert_eq!(a.position().revision.0 % 1_000_000, 3);
    let late = Replica::serving(&server.address()).await;
    assert_eq!(late.fingerprint(), a.fingerprint());
}

#[tokio::test]
async fn a_heartbeat_at_any_replica_renews_the_shared_lease() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let registered = a.register("osint_service", "x", 1).await.unwrap();
    let (handle, generation) = (registered.handle, registered.generation);
    let member = format!("{generation:020}:osint_service/x");
    let lease = || server.call::<f64>(&["ZSCORE", "vertice:leases", &member]);
    server.call::<i64>(&["ZADD", "vertice:leases", "99999999999999", &member]);
    let revision = a.position().revision;
    // Not yet followed by b, perhaps: it asks Redis then.
    b.beat("osint_service", "x", generation).await.unwrap();
    let waited = eventually("the beat in Redis", || lease() < 99_999_999_999_999.0).await;
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    server.call::<i64>(&["ZADD", "vertice:leases", "99999999999999", &member]);
    eventually("followed", || b.has("osint_service", "x", generation)).await;
    let batch =
        b.redis.beat_batch(&*b.memory, &[(handle, generation), (5, 5), (handle, generation - 1)], |_| true);
    assert_eq!((batch.renewed, batch.lost.as_slice()), (1, &[5, handle][..]));
    eventually("the batch in Redis", || lease() < 99_999_999_999_999.0).await;
    assert_eq!(a.position().revision, revision, "a heartbeat is no change");
    let refused = b.redis.beat_batch(&*b.memory, &[(handle, generation)], |_| false);
    assert_eq!(refused.lost, [handle], "a lease that the token is not for is lost");
}

#[tokio::test]
async fn generations_and_incarnations_hold_across_replicas() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let first = a.registered("osint_service", "x", 117_665_498_000_000_001).await;
    // At once, whether b has followed or not; the incarnations differ in the last of more digits than a double has.
    let second = b.registered("osint_service", "x", 117_665_498_000_000_002).await;
    assert!(second > first);
    let older = a.register("osint_service", "x", 117_665_498_000_000_001).await;
    assert_eq!(older, Err(Refusal::OlderIncarnation { held: 117_665_498_000_000_002 }));
    eventually("followed", || a.has("osint_service", "x", second)).await;
    assert_eq!(a.beat("osint_service", "x", first).await, Err(Refusal::OldGeneration));
    assert_eq!(a.patch("osint_service", "x", first, draining()).await, Err(Refusal::OldGeneration));
    assert_eq!(a.deregister("osint_service", "x", first).await, Err(Refusal::OldGeneration));
    assert_eq!(a.beat("osint_service", "x", second + 1).await, Err(Refusal::Unknown));
    let again = a.register("osint_service", "x", 117_665_498_000_000_002).await.unwrap();
    assert_eq!((again.generation, again.changed, again.created), (second, false, false), "a renewal");
    assert_eq!(a.deregister("osint_service", "x", second).await, Ok(true));
    assert_eq!(b.deregister("osint_service", "x", second).await, Ok(false));
    let third = b.registered("osint_service", "x", 1).await;
    assert!(third > second, "a generation is never given twice");
}

#[tokio::test]
async fn of_writers_at_once_the_newest_start_wins_everywhere() {
    let server = Server::start(&[]).await;
    let replicas = [Replica::serving(&server.address()).await, Replica::serving(&server.address()).await];
    let calls = (1..=40_u64).map(|n| {
        let replica = &replicas[usize::try_from(n % 2).unwrap()];
        async move { (n, replica.register("osint_service", "x", n * 7 % 41).await) }
    });
    let answers = futures_util::future::join_all(calls).await;
    let mut generations: Vec<u64> =
        answers.iter().filter_map(|(_, a)| a.as_ref().ok()).map(|r| r.generation).collect();
    let given = generations.len();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), given, "no generation twice");
    for replica in &replicas {
        eventually("the winner", || replica.get("osint_service", "x").is_some_and(|i| i.incarnation == 40))
            .await;
    }
    eventually("equal", || replicas[0].fingerprint() == replicas[1].fingerprint()).await;
}

#[tokio::test]
async fn two_changes_at_once_are_both_done() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    let generation = a.registered("osint_service", "x", 1).await;
    let heavy = Patch { weight: Some(7), ..Patch::default() };
    let (one, two) = tokio::join!(
        a.patch("osint_service", "x", generation, heavy),
        b.patch("osint_service", "x", generation, draining())
    );
    assert_eq!((one, two), (Ok(()), Ok(())));
    let both = || a.get("osint_service", "x").is_some_and(|i| i.weight == 7 && i.status == Status::Draining);
    eventually("both", both).await;
}

#[tokio::test]
async fn a_lease_that_ran_out_is_removed_once_however_many_sweep() {
    let server = Server::start(&[]).await;
    let replicas = [
        Replica::serving(&server.address()).await,
        Replica::serving(&server.address()).await,
        Replica::serving(&server.address()).await,
    ];
    let keeps = replicas[0].registered("osint_service", "keeps", 1).await;
    let goes = replicas[0].registered("osint_service", "goes", 1).await;
    let revision = replicas[0].position().revision.0;
    server.call::<i64>(&["ZADD", "vertice:leases", "1", &format!("{goes:020}:osint_service/goes")]);
    for replica in &replicas {
        eventually("expired", || replica.get("osint_service", "goes").is_none()).await;
        assert!(replica.has("osint_service", "keeps", keeps));
        eventually("one revision", || replica.position().revision.0 == revision + 1).await;
        assert_eq!(replica.read(|store| store.stats().expired_total), 1);
    }
}

#[tokio::test]
async fn a_drained_one_goes_at_its_deadline() {
    let server = Server::start(&[]).await;
    let a = Replica::serving(&server.address()).await;
    let generation = a.registered("osint_service", "x", 1).await;
    let patch = Patch { deadline_s: Some(1), ..draining() };
    a.patch("osint_service", "x", generation, patch).await.unwrap();
    assert_eq!(a.count(), 1);
    eventually("drained", || a.count() == 0).await;
    assert_eq!(a.read(|store| store.stats().expired_total), 0);
}

#[tokio::test]
async fn a_password_and_a_database_number_are_used() {
    let server = Server::start(&["--requirepass", "s3cret"]).await;
    let a = Replica::serving(&format!("redis://:s3cret@127.0.0.1:{}/3", server.port)).await;
    a.registered("osint_service", "x", 1).await;
    let wrong = Replica::start(&server.address());
    eventually("degraded", || wrong.state() == SourceState::Degraded).await;
    let url = format!("redis://:s3cret@127.0.0.1:{}/3", server.port);
    let mut client = redis::Client::open(url).unwrap().get_connection().unwrap();
    assert_eq!(redis_support::call::<i64>(&mut client, &["HLEN", "vertice:instances"]), 1);
}

#[tokio::test]
async fn a_replica_that_cannot_follow_reads_everything() {
    let server = Server::start(&[]).await;
    let (a, b) = (Replica::serving(&server.address()).await, Replica::serving(&server.address()).await);
    a.registered("osint_service", "x", 1).await;
    eventually("followed", || b.count() == 1).await;
    // Somebody writes nonsense into the stream, with the next revision.
    let revision = a.position().revision.0 + 1;
    server.call::<i64>(&["HSET", "vertice:meta", "revision", &revision.to_string()]);
    server.call::<String>(&["XADD", "vertice:changes", &format!("{revision}-0"), "o", "dance"]);
    let generation = a.registered("osint_service", "y", 1).await;
    for replica in [&a, &b] {
        eventually("both", || replica.count() == 2 && replica.has("osint_service", "y", generation)).await;
        eventually("serving", || replica.state() == SourceState::Serving).await;
    }
    eventually("equal", || a.fingerprint() == b.fingerprint()).await;
}
