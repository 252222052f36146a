//! Registering, with either kind of registry played by the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Asked, PATIENCE, Script, epoch, instance, name, soon};
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Metadata, Status};
use vertice_registry_client::{Phase, Registrar, RegistrarConfig, RegistrarState, RegistryKind};

const DELETE_7: &str = "DELETE /v1/services/alpha/instances/a:1?generation=7";
const PUT: &str = "PUT /v1/services/alpha/instances/a:1";

fn registration() -> Registration {
    let instance = instance("alpha", "a:1");
    Registration {
        service: name("alpha"),
        instance_id: instance.instance_id,
        incarnation: 0,
        url: instance.url,
        health_endpoint: instance.health_endpoint,
        metadata: Metadata::new([("version".to_owned(), "2.1".to_owned())].into()).unwrap(),
        zone: None,
        weight: 100,
        version: None,
        ttl_s: None,
        status: Status::Up,
    }
}

fn start(script: &Script) -> Registrar {
    let config = RegistrarConfig {
        url: script.url(),
        token: Some("t0ken".into()),
        heartbeat_interval: Some(Duration::from_millis(50)),
        started_unix_ms: 1_700_000_000_000,
    };
    Registrar::start(config, registration())
}

fn granted(generation: u64) -> Value {
    json!({"message": "registered", "service_name": "alpha", "instance_id": "a:1", "generation": generation,
        "handle": 1, "ttl": 60, "heartbeat_interval": 20, "epoch": epoch(1), "revision": 1})
}

async fn until(registrar: &Registrar, wanted: impl Fn(&RegistrarState) -> bool) -> RegistrarState {
    let mut state = registrar.state();
    soon("a state of the registrar", state.wait_for(wanted)).await.unwrap().clone()
}

#[tokio::test]
async fn with_ours_it_puts_beats_and_takes_back() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    let put = script.expect(PUT).await;
    assert_eq!(put.header("x-registry-token"), Some("t0ken"));
    let body = put.json();
    assert_eq!((&body["url"], &body["status"]), (&json!("http://a:1"), &json!("up")));
    assert_eq!(body["incarnation"].as_u64().unwrap() >> 16, 1_700_000_000_000);
    put.answer_json(201, &granted(7));
    let state = until(&registrar, |s| s.phase == Phase::Registered).await;
    assert_eq!(state.kind, Some(RegistryKind::Ours));
    for _ in 0..2 {
        let beat = script.expect("POST /heartbeat").await;
        assert_eq!(beat.json(), json!({"service_name": "alpha", "instance_id": "a:1", "generation": 7}));
        beat.answer_json(200, &json!({}));
    }
    let goodbye = tokio::spawn(registrar.deregister(PATIENCE));
    loop {
        let asked = script.next().await;
        if asked.method == "PATCH" {
            assert_eq!(asked.path, "/v1/services/alpha/instances/a:1?generation=7");
            assert_eq!(asked.json(), json!({"status": "draining", "deadline_s": 15}));
            asked.answer_json(
                200,
                &json!({"message": "ok", "generation": 7, "epoch": epoch(1), "revision": 9}),
            );
            break;
        }
        asked.answer_json(200, &json!({}));
    }
    let first = format!("GET /v1/barrier?revision=9&epoch={}&timeout=5", epoch(1));
    let gone = json!({"detail": "another epoch", "epoch": epoch(2), "oldest": 1});
    script.expect(&first).await.answer_json(410, &gone);
    // What was said may not be in the new history.
    let again = next_but_beats(&mut script, 7).await;
    assert_eq!(again.json(), json!({"status": "draining", "deadline_s": 15}));
    again.answer_json(200, &json!({"message": "ok", "generation": 7, "epoch": epoch(2), "revision": 3}));
    let second = format!("GET /v1/barrier?revision=3&epoch={}", epoch(2));
    let barrier = script.expect(&second).await;
    assert!(script.waiting().is_none(), "the instance stays while gateways are waited for");
    barrier.answer_json(200, &json!({"applied": 1, "total": 1, "missing": []}));
    script.expect(DELETE_7).await.answer_json(200, &json!({}));
    assert!(goodbye.await.unwrap());
}

#[tokio::test]
async fn what_the_registry_says_about_draining_never_costs_the_taking_back() {
    let no = json!({"detail": "no"});
    let revision = json!({"revision": 9});
    for (patch, barrier) in [
        ((404, &no), None),
        ((503, &no), None),
        ((200, &no), None),
        ((200, &revision), Some((403, no.clone()))),
        ((200, &revision), Some((200, no.clone()))),
        ((200, &revision), Some((200, json!({"applied": 0, "total": 1, "missing": ["g1"]})))),
    ] {
        let mut script = Script::start().await;
        let registrar = start(&script);
        script.expect(PUT).await.answer_json(201, &granted(7));
        until(&registrar, |s| s.phase == Phase::Registered).await;
        let goodbye = tokio::spawn(registrar.deregister(PATIENCE));
        next_but_beats(&mut script, 7).await.answer_json(patch.0, patch.1);
        if let Some((status, body)) = barrier {
            script.expect("GET /v1/barrier").await.answer_json(status, &body);
        }
        script.expect(DELETE_7).await.answer_json(200, &json!({}));
        assert!(goodbye.await.unwrap());
    }
}

#[tokio::test]
async fn a_heartbeat_tells_which_gateways_cannot_use_the_instance() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    script.expect(PUT).await.answer_json(201, &granted(7));
    let rejects = json!({"rejects": [{"gateway": "g1", "reason": "no", "age_s": 1}]});
    script.expect("POST /heartbeat").await.answer_json(200, &rejects);
    until(&registrar, |s| s.rejections == ["g1: no"] && s.phase == Phase::Registered).await;
    script.expect("POST /heartbeat").await.answer_json(200, &json!({}));
    until(&registrar, |s| s.rejections.is_empty()).await;
}

#[tokio::test]
async fn a_lost_lease_is_registered_again_at_once() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    script.expect(PUT).await.answer_json(201, &granted(1));
    let lost = json!({"detail": "unknown lease", "retry_after_ms": 5});
    script.expect("POST /heartbeat").await.answer_json(404, &lost);
    script.expect(PUT).await.answer_json(201, &granted(2));
    let beat = script.expect("POST /heartbeat").await;
    assert_eq!(beat.json()["generation"], 2);
    beat.answer_json(409, &json!({"detail": "an old generation"}));
    script.expect(PUT).await.answer_json(200, &granted(3));
    until(&registrar, |s| s.phase == Phase::Registered && s.failures == 0).await;
}

#[tokio::test]
async fn news_about_the_instance_go_out_at_once() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    let first = script.expect(PUT).await;
    let incarnation = first.json()["incarnation"].clone();
    first.answer_json(201, &granted(1));
    until(&registrar, |s| s.phase == Phase::Registered).await;
    registrar.set_status(Status::Down);
    let put = loop {
        let asked = script.next().await;
        if asked.method == "PUT" {
            break asked;
        }
        asked.answer_json(200, &json!({}));
    };
    assert_eq!((&put.json()["status"], &put.json()["incarnation"]), (&json!("down"), &incarnation));
    put.answer_json(200, &granted(1));
}

/// Registered with generation 7 and then down: the update, still without an answer.
async fn update(script: &mut Script) -> (Registrar, Asked) {
    let registrar = start(script);
    script.expect(PUT).await.answer_json(201, &granted(7));
    until(&registrar, |s| s.phase == Phase::Registered).await;
    registrar.set_status(Status::Down);
    let put = next_but_beats(script, 7).await;
    assert_eq!((put.line().as_str(), &put.json()["status"]), (PUT, &json!("down")));
    (registrar, put)
}

/// The next request that is no heartbeat; those before it must be of `generation`.
async fn next_but_beats(script: &mut Script, generation: u64) -> Asked {
    loop {
        let asked = script.next().await;
        if asked.line() != "POST /heartbeat" {
            return asked;
        }
        assert_eq!(asked.json()["generation"], generation);
        asked.answer_json(200, &json!({}));
    }
}

#[tokio::test]
async fn an_update_that_fails_does_not_stop_the_heartbeats_and_is_tried_again() {
    // 404: a page of a proxy, say. 0: the connection breaks, and whether the update got there stays unknown.
    for status in [503, 404, 0] {
        let mut script = Script::start().await;
        let (registrar, put) = update(&mut script).await;
        if status == 0 {
            drop(put);
        } else {
            put.answer_json(status, &json!({"detail": "not now"}));
        }
        let beat = script.expect("POST /heartbeat").await;
        assert_eq!(beat.json()["generation"], 7);
        beat.answer_json(200, &json!({}));
        let again = next_but_beats(&mut script, 7).await;
        assert_eq!((again.line().as_str(), &again.json()["status"]), (PUT, &json!("down")));
        let state = registrar.state().borrow().clone();
        assert_eq!((state.phase, state.failures), (Phase::Registered, 1), "a heartbeat is no update");
        again.answer_json(200, &granted(8));
        until(&registrar, |s| s.phase == Phase::Registered && s.failures == 0).await;
        let beat = script.expect("POST /heartbeat").await;
        assert_eq!(beat.json()["generation"], 8);
    }
}

#[tokio::test]
async fn what_stands_is_taken_back_while_an_update_fails() {
    for status in [503, 404, 403, 0] {
        let mut script = Script::start().await;
        let (registrar, put) = update(&mut script).await;
        if status == 0 {
            drop(put);
        } else {
            put.answer_json(status, &json!({"detail": "not now"}));
        }
        until(&registrar, |s| s.failures > 0).await;
        let goodbye = tokio::spawn(registrar.deregister(PATIENCE));
        let draining = next_but_beats(&mut script, 7).await;
        assert_eq!(draining.method, "PATCH");
        draining.answer_json(503, &json!({"detail": "not now"}));
        let removal = script.expect(DELETE_7).await;
        // Not ours any more: just as well.
        removal.answer_json(409, &json!({"detail": "taken over"}));
        assert!(goodbye.await.unwrap());
    }
}

#[tokio::test]
async fn an_update_that_hangs_does_not_hold_up_the_taking_back() {
    let mut script = Script::start().await;
    let (registrar, _unanswered) = update(&mut script).await;
    let goodbye = tokio::spawn(registrar.deregister(Duration::from_secs(5)));
    script.expect("PATCH").await.answer_json(503, &json!({"detail": "not now"}));
    script.expect(DELETE_7).await.answer_json(200, &json!({}));
    assert!(goodbye.await.unwrap());
}

#[tokio::test]
async fn a_lease_that_is_lost_while_an_update_fails_is_registered_again() {
    let mut script = Script::start().await;
    let (registrar, put) = update(&mut script).await;
    put.answer_json(503, &json!({"detail": "not now"}));
    script
        .expect("POST /heartbeat")
        .await
        .answer_json(404, &json!({"detail": "unknown", "retry_after_ms": 5}));
    let again = script.expect(PUT).await;
    assert_eq!(again.json()["status"], "down");
    again.answer_json(201, &granted(9));
    until(&registrar, |s| s.phase == Phase::Registered && s.failures == 0).await;
}

/// Answers the question for the kind: only the old calls here.
async fn old_calls(script: &mut Script) {
    script.expect(PUT).await.answer_json(404, &json!({"detail": "Not Found"}));
}

#[tokio::test]
async fn with_the_original_it_speaks_the_originals_words() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    old_calls(&mut script).await;
    let register = script.expect("POST /register").await;
    let body = json!({"service_name": "alpha", "endpoint": "http://a:1", "health_endpoint": "/health",
        "metadata": {"version": "2.1"}});
    assert_eq!(register.json(), body);
    assert_eq!(register.header("content-type"), Some("application/json"));
    register.answer(201, "text/plain", "a success that is no JSON");
    let state = until(&registrar, |s| s.phase == Phase::Registered).await;
    assert_eq!(state.kind, Some(RegistryKind::OldCalls));
    let beat = script.expect("POST /heartbeat").await;
    assert_eq!(beat.json(), json!({"service_name": "alpha"}));
    beat.answer_json(500, &json!({"detail": "Heartbeat failed: Service 'alpha' not registered"}));
    old_calls(&mut script).await;
    script
        .expect("POST /register")
        .await
        .answer_json(201, &json!({"message": "ok", "service_name": "alpha"}));
    script.expect("POST /heartbeat").await.answer_json(200, &json!({}));
}

#[tokio::test]
async fn with_the_original_down_is_a_goodbye_and_up_a_new_registration() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    old_calls(&mut script).await;
    script.expect("POST /register").await.answer_json(201, &json!({}));
    until(&registrar, |s| s.phase == Phase::Registered).await;
    registrar.set_status(Status::Down);
    loop {
        let asked = script.next().await;
        let line = asked.line();
        asked.answer_json(200, &json!({}));
        if line == "DELETE /deregister/alpha" {
            break;
        }
        assert_eq!(line, "POST /heartbeat");
    }
    old_calls(&mut script).await;
    until(&registrar, |s| s.phase == Phase::Withdrawn).await;
    registrar.set_status(Status::Up);
    old_calls(&mut script).await;
    script.expect("POST /register").await.answer_json(201, &json!({}));
    until(&registrar, |s| s.phase == Phase::Registered).await;
}

#[tokio::test]
async fn a_page_of_html_decides_nothing_and_is_tried_again() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    script.expect(PUT).await.answer(200, "text/html", "<html>login</html>");
    let state = until(&registrar, |s| s.failures == 1).await;
    assert_eq!((state.phase, state.kind), (Phase::Registering, None));
    assert!(state.last_error.unwrap().contains("text/html"));
    script.expect(PUT).await.answer_json(201, &granted(1));
    until(&registrar, |s| s.phase == Phase::Registered && s.failures == 0).await;
}

#[tokio::test]
async fn a_refusal_is_kept_in_the_servers_words() {
    for (status, body) in [(401, "bad token"), (403, "not your name"), (422, "endpoint: no")] {
        let mut script = Script::start().await;
        let registrar = start(&script);
        script.expect(PUT).await.answer_json(status, &json!({"detail": body}));
        let state = until(&registrar, |s| s.phase == Phase::Refused).await;
        assert!(state.last_error.unwrap().contains(body));
        assert!(
            soon("the end", registrar.deregister(PATIENCE)).await,
            "a long pause does not hold up the end"
        );
        assert!(script.waiting().is_none(), "nothing stands that could be taken back");
    }
}

#[tokio::test]
async fn a_registry_that_hangs_does_not_hold_up_the_end() {
    let mut script = Script::start().await;
    let registrar = start(&script);
    let _unanswered = script.expect(PUT).await;
    let ended = soon("the end", registrar.deregister(Duration::from_millis(50))).await;
    assert!(!ended);
}
