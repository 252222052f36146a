//! What a gateway cannot use, and what its checks prove dead, reaches the registry, its operators and who registered it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use vertice_tests::http;
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN, TOKEN_HEADER, sidecar_environment, start_sidecar};
use vertice_tests::wait::{PATIENCE, eventually};

/// What `vertice-registry list` prints.
async fn list(registry: &Registry, more: &[&str]) -> String {
    let url = registry.url();
    let arguments = [&["list", "--registry", &url], more].concat();
    let ended = Program::run("vertice-registry", &arguments, &[("REGISTRY_AUTH_TOKEN", TOKEN)]).await;
    assert!(ended.status.success(), "{}", ended.text);
    ended.text
}

/// The leases of `service` by instance id.
async fn leases(registry: &Registry, service: &str) -> Vec<(String, Value)> {
    let listed: Value = serde_json::from_str(&list(registry, &[service, "--json"]).await).unwrap();
    let leases = listed["leases"].as_array().unwrap().iter();
    leases
        .map(|lease| (lease["instance"]["instance_id"].as_str().unwrap().to_owned(), lease.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_used_is_shown_to_operators_and_told_to_its_registrant() {
    let registry = Registry::start().await;
    let good = Stub::start("good").await;
    registry.put("good_service", "good", &good.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    // The gateway itself is no service behind it, and looks like a healthy one to a sidecar.
    let mut environment = sidecar_environment("loop_service", gateway.address, &registry.url());
    environment.push(("HEARTBEAT_INTERVAL", "1".to_owned()));
    let mut sidecar = start_sidecar(&environment);
    registry.put("lost_service", "lost", "http://no-such-host.invalid:80").await;

    let text = eventually(PATIENCE, "both are listed with who rejects them", async || {
        let text = list(&registry, &[]).await;
        (text.matches("rejected by gateway-").count() >= 2).then_some(text)
    })
    .await;
    for words in ["it is the gateway itself", "does not resolve"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    sidecar
        .line("that it is rejected", |line| {
            (line.contains("gateways cannot use the instance") && line.contains("the gateway itself"))
                .then_some(())
        })
        .await;
    let good = leases(&registry, "good_service").await.into_iter().find(|(id, _)| id == "good").unwrap();
    assert!(good.1.get("rejects").is_none(), "{good:?}");
}

/// Waits for the end of the registry's first 75 s, in which it believes no expiry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn a_stale_instance_that_does_not_answer_is_removed_by_proof_and_one_that_answers_stays() {
    let registry = Registry::start().await;
    let (beats, lives) = (Stub::start("beats").await, Stub::start("lives").await);
    registry.put("some_service", "beats", &beats.url()).await;
    let put = async |id: &str, url: &str, ttl: u32| {
        let target = format!("/v1/services/some_service/instances/{id}");
        let body = json!({ "url": url, "ttl": ttl });
        let answer = http::send_json(registry.address, "PUT", &target, &[TOKEN_HEADER], &body).await;
        assert!(answer.status.is_success(), "{answer:?}");
    };
    for n in 0..10 {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        put(&format!("dead-{n}"), &format!("http://{nobody}"), 5).await;
    }
    // A little later than those, so that self-preservation is on by then.
    put("lives", &lives.url(), 70).await;
    let _gateway = Gateway::start_with(&registry.url(), &[], &[("REGISTRY_AUTH_TOKEN", TOKEN)]).await;
    let limit = Duration::from_mins(3);
    eventually(limit, "something is stale", async || {
        let stale = |(_, lease): &(String, Value)| lease["instance"]["stale"] == true;
        leases(&registry, "some_service").await.iter().any(stale).then_some(())
    })
    .await;
    eventually(limit, "only who answers is left, long before ten minutes", async || {
        let leases = leases(&registry, "some_service").await;
        let left: Vec<_> = leases.iter().map(|(id, _)| id.as_str()).collect();
        let stale = |(id, lease): &(String, Value)| id == "lives" && lease["instance"]["stale"] == true;
        (left == ["beats", "lives"] && leases.iter().any(stale)).then_some(())
    })
    .await;
    assert!(registry.program.text().contains("proven dead"), "{}", registry.program.text());
}
