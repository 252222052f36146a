//! In front of today's registry with all its bugs: every service that was routed once stays routed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use vertice_tests::http::{Connection, request};
use vertice_tests::inventory::with_sidecar;
use vertice_tests::original_registry::{Call, Fleet, OriginalRegistry, Quirk, RedisState};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, TOKEN, sidecar_environment, start_sidecar};
use vertice_tests::wait::{PATIENCE, eventually};

/// Requests for the list that must come before the routes are looked at. A poll is one or two of them, so with the third
/// a second poll has begun and the first has seen the quirk through.
const POLLS: usize = 3;

/// Names that must be read again where every read fails: the gateway spares a registry that fails, so it takes its time.
const FAILING_READS: usize = 3;

/// From the registrations on: the leases are over, the next sweep is not.
const AFTER_THE_LEASE: Duration = Duration::from_secs(61);

/// The gateway asks often and waits briefly, so that a test sees several polls in a second.
const HASTE: [(&str, &str); 2] = [("GATEWAY_CACHE_TTL", "0.1"), ("REGISTRY_TIMEOUT", "0.3")];

/// Today's fleet in front of the fake, known to the gateway while the fake still behaved.
struct System {
    stubs: Vec<Stub>,
    names: Vec<String>,
    registry: OriginalRegistry,
    gateway: Gateway,
}

impl System {
    async fn start() -> Self {
        let services = with_sidecar();
        let stubs = join_all(
            services.iter().map(|service| Stub::with_health_path(&service.name, &service.health_endpoint)),
        )
        .await;
        let registry = OriginalRegistry::start(Fleet::new(5, TOKEN)).await;
        // Not in step with the sweeps at 30, 60, 90 s: the leases end at 61.
        registry.advance(Duration::from_secs(1));
        for (service, stub) in services.iter().zip(&stubs) {
            register(&registry, &service.name, &stub.url(), &service.health_endpoint);
        }
        let gateway = Gateway::start_with(&registry.url(), &[], &HASTE).await;
        let names = services.into_iter().map(|service| service.name).collect();
        let system = Self { stubs, names, registry, gateway };
        for name in &system.names {
            system.gateway.routes_to(name, name, PATIENCE).await;
        }
        system
    }

    /// Asks for every service by its name.
    async fn all_are_routed(&self) {
        let mut connection = Connection::open(self.gateway.address).await.unwrap();
        for name in &self.names {
            let answer = connection.send(request("GET", &format!("/v2/{name}/x"), &[], "")).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.json()["stub"]), (200, &json!(name)), "{name}");
        }
        assert_eq!(self.names.len(), 100);
    }

    /// Lets the gateway ask for the list a few times, and then for every service.
    async fn all_outlive_some_polls(&self) {
        self.registry.polled(POLLS).await;
        self.all_are_routed().await;
    }

    /// Lets the gateway read `names` names again, which it does about once in half a lease, and asks for every service.
    async fn all_outlive_reads(&self, names: usize) {
        self.registry.read(names).await;
        self.all_are_routed().await;
    }

    fn switch_on(&self, quirks: &[Quirk]) {
        self.registry.fleet(|fleet| fleet.quirks.extend(quirks));
    }
}

fn register(registry: &OriginalRegistry, name: &str, endpoint: &str, health: &str) {
    let body = json!({ "service_name": name, "endpoint": endpoint, "health_endpoint": health }).to_string();
    let call = Call { method: "POST", path: "/register", token: Some(TOKEN), body: body.as_bytes() };
    let reply = registry.call(call);
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// The quirks that show when a name is read. Each waits for such reads, so they wait side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hundred_stay_routed_through_every_quirk_of_reads() {
    let mut scenarios = JoinSet::new();
    scenarios.spawn(named("q1", q1_every_cached_name_answers_500()));
    scenarios.spawn(named("q5", q5_every_lease_has_run_out_but_the_names_are_still_listed()));
    scenarios.spawn(named(
        "q6 as committed",
        q6_replicas_keep_the_dead_for_ever(Quirk::CacheAnswers500, FAILING_READS),
    ));
    scenarios.spawn(named("q6 repaired", q6_replicas_keep_the_dead_for_ever(Quirk::RepairedButFrozen, 100)));
    scenarios.spawn(named("q7 and q8", q7_q8_answers_are_frozen()));
    scenarios.spawn(named("q9", q9_two_instances_overwrite_each_other()));
    scenarios.spawn(named("q11", q11_records_without_an_endpoint()));
    while let Some(ended) = scenarios.join_next().await {
        ended.expect("a scenario failed; its own panic is above");
    }
}

/// Tells which scenario is over, so that the one that is not can be found.
async fn named(name: &str, scenario: impl Future<Output = ()>) {
    scenario.await;
    println!("{name} is over, well");
}

async fn q1_every_cached_name_answers_500() {
    let system = System::start().await;
    system.switch_on(&[Quirk::CacheAnswers500]);
    system.all_outlive_reads(FAILING_READS).await;
}

async fn q5_every_lease_has_run_out_but_the_names_are_still_listed() {
    let system = System::start().await;
    system.switch_on(&[Quirk::ListsExpired]);
    system.registry.advance(AFTER_THE_LEASE);
    system.all_outlive_reads(100).await;
    // And swept: an empty list, while every service answers its health checks.
    system.registry.advance(Duration::from_secs(30));
    system.all_outlive_some_polls().await;
}

async fn q6_replicas_keep_the_dead_for_ever(committed_or_repaired: Quirk, reads: usize) {
    let system = System::start().await;
    system.switch_on(&[committed_or_repaired, Quirk::KeepsDead, Quirk::ListsExpired]);
    system.registry.advance(AFTER_THE_LEASE);
    system.all_outlive_reads(reads).await;
}

async fn q7_q8_answers_are_frozen() {
    let system = System::start().await;
    system.switch_on(&[Quirk::RepairedButFrozen]);
    // Everyone registers again: nobody is told.
    for (name, stub) in system.names.iter().zip(&system.stubs) {
        register(&system.registry, name, &stub.url(), "/health");
    }
    system.all_outlive_reads(100).await;
}

async fn q9_two_instances_overwrite_each_other() {
    let system = System::start().await;
    let name = &system.names[0];
    let other = Stub::start(name).await;
    register(&system.registry, name, &other.url(), "/health");
    system.all_outlive_reads(100).await;
    assert!(other.requests() > 0, "the second has taken the name over");
    register(&system.registry, name, &system.stubs[0].url(), "/health");
    system.all_outlive_some_polls().await;
}

async fn q11_records_without_an_endpoint() {
    let system = System::start().await;
    system.switch_on(&[Quirk::HeartbeatRace, Quirk::ListsExpired]);
    system.registry.advance(AFTER_THE_LEASE);
    for name in &system.names {
        let body = json!({ "service_name": name }).to_string();
        let call = Call { method: "POST", path: "/heartbeat", token: Some(TOKEN), body: body.as_bytes() };
        assert_eq!(system.registry.call(call).status, 200);
    }
    system.all_outlive_reads(FAILING_READS).await;
}

#[tokio::test]
async fn q2_nginx_takes_all_replicas_for_failed() {
    let system = System::start().await;
    system.switch_on(&[Quirk::CacheAnswers500, Quirk::NginxMarksFailed]);
    let path = format!("/services/{}", system.names[0]);
    let ask = || system.registry.call(Call { method: "GET", path: &path, token: None, body: b"" }).status;
    // Somebody else asks for one name until nginx has nobody left.
    while ask() != 502 {}
    system.all_outlive_some_polls().await;
    system.registry.advance(Duration::from_secs(10));
    assert_ne!(ask(), 502);
    system.all_outlive_some_polls().await;
}

#[tokio::test]
async fn q4_redis_is_flushed_and_no_heartbeat_helps() {
    let system = System::start().await;
    system.switch_on(&[Quirk::UnknownHeartbeatIs500]);
    system.registry.fleet(Fleet::flush_redis);
    system.all_outlive_some_polls().await;
}

#[tokio::test]
async fn q4_our_sidecar_comes_back_after_a_flush() {
    let registry = OriginalRegistry::start(Fleet::new(1, TOKEN).with([Quirk::UnknownHeartbeatIs500])).await;
    let stub = Stub::start("back").await;
    let mut environment = sidecar_environment("back_service", stub.address(), &registry.url());
    environment.push(("HEARTBEAT_INTERVAL", "1".to_owned()));
    let _sidecar = start_sidecar(&environment);
    let registered = async || {
        let call = Call { method: "GET", path: "/services/back_service", token: None, body: b"" };
        (registry.call(call).status == 200).then_some(())
    };
    eventually(PATIENCE, "the sidecar registers", registered).await;
    registry.fleet(Fleet::flush_redis);
    registry.fleet(Fleet::restart);
    eventually(PATIENCE, "the sidecar registers again", registered).await;
}

#[tokio::test]
async fn q10_names_and_endpoints_that_are_none() {
    let system = System::start().await;
    system.switch_on(&[Quirk::AnyString]);
    for (name, endpoint) in [
        ("", "http://127.0.0.1:1"),
        ("a/b", "http://127.0.0.1:1"),
        ("..", "http://127.0.0.1:1"),
        ("Name With Spaces", "http://127.0.0.1:1"),
        ("junk_service", "not a url"),
        ("empty_service", ""),
        ("control_service", "http://a\r\nb"),
    ] {
        register(&system.registry, name, endpoint, "no path");
    }
    // Names that are new on the list are read at once: the three that are names.
    system.all_outlive_reads(3).await;
    assert_eq!(system.gateway.get("/v2/junk_service/x").await.status, 503);
}

#[tokio::test]
async fn q13_breakers_are_open_and_each_replica_knows_something_else() {
    let system = System::start().await;
    system.registry.fleet(Fleet::open_breakers);
    system.all_outlive_some_polls().await;
    system.registry.fleet(|fleet| {
        fleet.restart();
        fleet.open_breakers();
    });
    // Now every list is empty, with status 200.
    system.all_outlive_some_polls().await;
}

#[tokio::test]
async fn q16_redis_refuses() {
    let system = System::start().await;
    system.registry.fleet(|fleet| fleet.redis_state = RedisState::Refusing);
    system.all_outlive_some_polls().await;
}

#[tokio::test]
async fn q16_redis_hangs_and_comes_back() {
    let system = System::start().await;
    system.registry.fleet(|fleet| fleet.redis_state = RedisState::Hanging);
    system.all_outlive_some_polls().await;
    system.registry.fleet(|fleet| fleet.redis_state = RedisState::Up);
    let new = Stub::start("new").await;
    register(&system.registry, "new_service", &new.url(), "/health");
    system.gateway.routes_to("new_service", "new", PATIENCE).await;
}
