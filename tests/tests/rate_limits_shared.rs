//! Gateways that count together in a real Redis, which may stop, die and come back: nobody waits for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use rustix::process::Signal;
use vertice_tests::http::{Connection, get, request};
use vertice_tests::redis_server::RedisServer;
use vertice_tests::stub::Stub;
use vertice_tests::system::Gateway;

fn config(redis: &RedisServer, requests: u32) -> String {
    format!(
        "[rate_limit_store]\nurl = \"{}\"\n[rate_limit.all]\nrequests = {requests}\nper = \"24h\"\nshared = true\n\
         [[route]]\nname = \"a\"\nprefix = \"/a\"\nservice = \"stub_service\"\nrate_limits = [\"all\"]\n",
        redis.url()
    )
}

/// How many of `count` requests pass.
async fn passed(gateway: &Gateway, count: usize) -> usize {
    let mut connection = Connection::open(gateway.address).await.unwrap();
    let mut passed = 0;
    for _ in 0..count {
        let answer = connection.send(request("GET", "/a/x", &[], "")).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 200 | 429), "{answer:?}");
        passed += usize::from(answer.status == 200);
    }
    passed
}

/// Waits until Redis has heard, and the gateway what Redis had to say.
async fn settled(gateway: &Gateway) {
    gateway.counts("rate_limit_store_waiting", "0.0").await;
}

#[tokio::test]
async fn what_one_gateway_let_pass_the_others_know() {
    let (stub, redis) = (Stub::start("stub").await, RedisServer::start().await);
    let text = config(&redis, 100);
    let (one, two) =
        (Gateway::in_front_of(&stub.url(), &text).await, Gateway::in_front_of(&stub.url(), &text).await);
    for gateway in [&one, &two] {
        gateway.counts("rate_limit_store_reachable", "1.0").await;
    }
    assert_eq!(passed(&one, 60).await, 60);
    settled(&one).await;
    // The first one that it sees it has to let pass: it asks nobody before it answers. Then it knows.
    let first = passed(&two, 1).await;
    settled(&two).await;
    let rest = passed(&two, 100).await;
    assert_eq!(first + rest, 40, "of 100 together");
    assert_eq!(
        passed(&one, 5).await,
        1,
        "the one gateway cannot know yet what the other did since it last asked"
    );
    settled(&one).await;
    assert_eq!((passed(&one, 50).await, passed(&two, 50).await), (0, 0));
    one.counts("rate_limit_alone_total{limit=\"all\"}", "0").await;
}

#[tokio::test]
async fn while_redis_stands_still_or_is_gone_each_gateway_counts_alone_and_then_together_again() {
    let (stub, mut redis) = (Stub::start("stub").await, RedisServer::start().await);
    let gateway = Gateway::in_front_of(&stub.url(), &config(&redis, 1000)).await;
    gateway.counts("rate_limit_store_reachable", "1.0").await;
    redis.signal(Signal::STOP);
    assert_eq!(passed(&gateway, 100).await, 100);
    gateway.counts("rate_limit_store_reachable", "0.0").await;
    assert_eq!(passed(&gateway, 100).await, 100);
    let alone = get(gateway.admin, "/metrics").await.text();
    assert!(!alone.contains("rate_limit_alone_total{limit=\"all\"} 0\n"), "{alone}");
    redis.signal(Signal::CONT);
    gateway.counts("rate_limit_store_reachable", "1.0").await;

    redis.kill();
    gateway.counts("rate_limit_store_reachable", "0.0").await;
    assert_eq!(passed(&gateway, 100).await, 100);
    redis.start_again().await;
    gateway.counts("rate_limit_store_reachable", "1.0").await;
    settled(&gateway).await;
    let kept = redis.ask("DBSIZE").await;
    assert_eq!(
        kept.as_deref(),
        Some(":1\r\n"),
        "an empty Redis hears what was let pass while nobody listened"
    );
    assert_eq!(passed(&gateway, 100).await, 100);
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_says_so() {
    let (stub, mut redis) = (Stub::start("stub").await, RedisServer::start().await);
    redis.kill();
    let mut gateway = Gateway::in_front_of(&stub.url(), &config(&redis, 3)).await;
    let what = "the store of rate limits is away";
    gateway.program.line(what, |line| line.contains(what).then_some(())).await;
    assert_eq!(passed(&gateway, 10).await, 3);
    gateway.counts("rate_limit_alone_total{limit=\"all\"}", "10").await;
}
