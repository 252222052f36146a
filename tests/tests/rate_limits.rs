//! Who asks too often is told so, by every rule that a limit can count by.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use vertice_tests::http::{Answer, Connection, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::Gateway;

async fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, request("GET", target, headers, "")).await
}

/// The statuses of `count` requests, one after the other.
async fn statuses(address: SocketAddr, count: usize, target: &str, headers: &[(&str, &str)]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(get(address, target, headers).await.status.as_u16());
    }
    statuses
}

fn route(name: &str, limits: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nprefix = \"/{name}\"\nservice = \"stub_service\"\nrate_limits = [{limits}]\n"
    )
}

#[tokio::test]
async fn a_client_is_told_what_it_has_left_and_when_it_may_come_again() {
    let stub = Stub::start("stub").await;
    let limit = "[rate_limit.old]\nrequests = 3\nper = \"1h\"\nby = [\"route\", \"address\"]\n";
    let text = format!("{limit}{}{}", route("a", "\"old\""), route("b", "\"old\""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    for left in [2, 1, 0] {
        let answer = get(gateway.address, "/a/x", &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"old\";q=3;w=3600"));
        let told = answer.header("ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"old\";r={left};t=")), "{told}");
        assert_eq!(answer.header("retry-after"), None);
    }
    let seen = stub.requests();
    let answer = get(gateway.address, "/a/x", &[]).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["reason"], "rate_limited");
    assert_eq!(answer.header("x-vertice-reason"), Some("rate_limited"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"old\";q=3;w=3600"));
    assert!(answer.header("ratelimit").unwrap().starts_with("\"old\";r=0;t="), "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1100..=1200).contains(&wait), "a third of an hour: {wait}");
    assert_eq!(stub.requests(), seen, "the service hears nothing of it");
    assert_eq!(get(gateway.address, "/b/x", &[]).await.status, 200, "the other route is counted by itself");
    gateway.counts("own_answers_total{reason=\"rate_limited\"}", "1").await;
    gateway.counts("rate_limit_refused_total{limit=\"old\"}", "1").await;
    gateway.counts("rate_limit_admitted_total{limit=\"old\"}", "4").await;
}

#[tokio::test]
async fn all_workers_count_together_and_exactly() {
    let stub = Stub::start("stub").await;
    let text = format!("[rate_limit.all]\nrequests = 57\nper = \"24h\"\n{}", route("a", "\"all\""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    let address = gateway.address;
    let client = |_| async move {
        let mut connection = Connection::open(address).await.unwrap();
        let mut passed = 0;
        for _ in 0..20 {
            let answer = connection.send(request("GET", "/a/x", &[], "")).await.unwrap();
            passed += usize::from(answer.status == 200);
        }
        passed
    };
    let clients: Vec<_> = (0..16).map(|n| tokio::spawn(client(n))).collect();
    let mut passed = 0;
    for client in clients {
        passed += client.await.unwrap();
    }
    assert_eq!(passed, 57, "of 320 requests over 16 connections to 2 workers");
}

#[tokio::test]
async fn the_client_is_whom_trusted_proxies_name_and_nobody_else() {
    let stub = Stub::start("stub").await;
    let limit = format!("[rate_limit.one]\nrequests = 1\nper = \"24h\"\n{}", route("a", "\"one\""));
    let text = format!("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n{limit}");
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    for (named, status) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("192.0.2.2", 200),
        // Who is trusted is looked behind; what a client wrote before that is its own claim.
        ("192.0.2.2, 10.0.0.1", 429),
        ("192.0.2.3, 192.0.2.2", 429),
        // A client of IPv6 has a /64 for itself.
        ("2001:db8::1", 200),
        ("2001:db8::2:0:0:1", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        let answer = get(gateway.address, "/a/x", &[("x-forwarded-for", named)]).await;
        assert_eq!(answer.status, status, "{named}");
    }
    let alone = Gateway::in_front_of(&stub.url(), &limit).await;
    assert_eq!(get(alone.address, "/a/x", &[("x-forwarded-for", "192.0.2.1")]).await.status, 200);
    let answer = get(alone.address, "/a/x", &[("x-forwarded-for", "192.0.2.2")]).await;
    assert_eq!(answer.status, 429, "nobody is trusted");
}

#[tokio::test]
async fn several_limits_hold_and_one_that_had_room_is_not_used_by_what_another_refused() {
    let stub = Stub::start("stub").await;
    let limits = "[rate_limit.many]\nrequests = 4\nper = \"24h\"\n\
                  [rate_limit.few]\nrequests = 2\nper = \"24h\"\nby = [\"route\", \"address\"]\n";
    let text = format!("{limits}{}{}", route("a", "\"many\", \"few\""), route("b", "\"many\", \"few\""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    assert_eq!(statuses(gateway.address, 5, "/a/x", &[]).await, [200, 200, 429, 429, 429]);
    let answer = get(gateway.address, "/b/x", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.header("ratelimit").unwrap();
    assert!(told.starts_with("\"many\";r=1;t=") && told.contains(", \"few\";r=1;t="), "{told}");
    assert_eq!(answer.header("ratelimit-policy"), Some("\"many\";q=4;w=86400, \"few\";q=2;w=86400"));
    assert_eq!(statuses(gateway.address, 2, "/b/x", &[]).await, [200, 429]);
}

#[tokio::test]
async fn a_limit_can_count_by_a_field_and_by_the_route() {
    let stub = Stub::start("stub").await;
    let limits = "[rate_limit.tenant]\nrequests = 1\nper = \"24h\"\nby = { header = \"x-tenant\" }\n\
                  [rate_limit.whole]\nrequests = 2\nper = \"24h\"\nby = \"route\"\n";
    let text = format!("{limits}{}{}", route("a", "\"tenant\""), route("b", "\"whole\""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    for (tenant, status) in [("red", 200), ("red", 429), ("blue", 200), ("blue", 429)] {
        assert_eq!(get(gateway.address, "/a/x", &[("x-tenant", tenant)]).await.status, status, "{tenant}");
    }
    assert_eq!(statuses(gateway.address, 2, "/a/x", &[]).await, [200, 429], "who names none is one, too");
    assert_eq!(statuses(gateway.address, 3, "/b/x", &[]).await, [200, 200, 429]);
}

#[tokio::test]
async fn who_has_a_key_is_counted_by_it_and_who_guesses_one_by_its_address() {
    let stub = Stub::start("stub").await;
    let key = |name: &str| {
        let hash = Sha256::digest(format!("key-of-{name}"));
        let hex = hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        format!("[[api_key]]\nname = \"{name}\"\nsha256 = \"{hex}\"\n")
    };
    let limits = "[rate_limit.key]\nrequests = 2\nper = \"24h\"\nby = \"key\"\n\
                  [rate_limit.address]\nrequests = 8\nper = \"24h\"\n";
    let auth = "auth = { api_key = true }\n";
    let text = format!("{}{}{limits}{}{auth}", key("red"), key("blue"), route("a", "\"key\", \"address\""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    let ask =
        async |key: &str, count: usize| statuses(gateway.address, count, "/a/x", &[("x-api-key", key)]).await;
    assert_eq!(ask("key-of-red", 3).await, [200, 200, 429]);
    assert_eq!(ask("key-of-blue", 1).await, [200]);
    // Who guesses uses up what its address has, and nothing of a key's.
    assert_eq!(ask("a-guess", 5).await, [401, 401, 401, 401, 429]);
    let answer = get(gateway.address, "/a/x", &[("x-api-key", "key-of-blue")]).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("ratelimit").unwrap().starts_with("\"address\";r=0;"), "{answer:?}");
}

#[tokio::test]
async fn a_limit_for_all_routes_holds_for_services_without_a_route_and_not_for_the_gateways_own_pages() {
    let stub = Stub::start("stub").await;
    let limits = "[rate_limit.all]\nrequests = 2\nper = \"24h\"\n[policies]\nrate_limits = [\"all\"]\n";
    let text = format!("{limits}{}", route("free", ""));
    let gateway = Gateway::in_front_of(&stub.url(), &text).await;
    assert_eq!(statuses(gateway.address, 3, "/v2/stub_service/x", &[]).await, [200, 200, 429]);
    assert_eq!(statuses(gateway.address, 3, "/free/x", &[]).await, [200, 200, 200]);
    assert_eq!(statuses(gateway.address, 3, "/health", &[]).await, [200, 200, 200]);
}

#[tokio::test]
async fn a_reload_forgets_nobody_unless_the_limit_itself_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let stub = Stub::start("stub").await;
    let write = |requests: u32, more: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[registry]\nembedded = \"127.0.0.1:0\"\n\
             [[service]]\nname = \"stub_service\"\nfallback = [\"{}\"]\n\
             [rate_limit.one]\nrequests = {requests}\nper = \"24h\"\n{}{more}",
            stub.url(),
            route("a", "\"one\"")
        );
        std::fs::write(&file, text).unwrap();
    };
    write(1, "");
    let gateway = Gateway::start_configured(&file, &["--workers", "2"]).await;
    assert_eq!(statuses(gateway.address, 2, "/a/x", &[]).await, [200, 429]);
    let reload = async || send(gateway.admin, request("POST", "/config/reload", &[], "")).await;
    write(1, &route("b", "\"one\""));
    assert_eq!(reload().await.status, 200);
    assert_eq!(statuses(gateway.address, 1, "/b/x", &[]).await, [429]);
    write(2, "");
    assert_eq!(reload().await.status, 200);
    assert_eq!(statuses(gateway.address, 3, "/a/x", &[]).await, [200, 200, 429]);
}
