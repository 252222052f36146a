//! A sidecar's life beside a service and before a registry, both played by the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use support::{PATIENCE, Registry, Service, Speaks, config, start};
use tokio::net::{TcpListener, TcpStream};

const HEALTHY: &str = r#"{"version":2.1,"status":"healthy","uptime":7}"#;

fn put(service: &Service) -> String {
    format!("PUT /v1/services/osint_service/instances/{}", service.address)
}

#[tokio::test]
async fn it_waits_registers_beats_and_takes_back() {
    let service = Service::start(503, HEALTHY).await;
    let mut registry = Registry::start(Speaks::V1).await;
    let sidecar = start(config(service.address, registry.address), None);
    service.checked(3).await;
    assert_eq!(registry.unseen(), [""; 0], "nothing is registered before the service is healthy");
    service.turn(200);
    let (line, body) = registry.call().await;
    assert_eq!(line, put(&service));
    assert_eq!(registry.token().as_deref(), Some("t0ken"));
    assert_eq!(body["metadata"], json!({"status": "healthy", "version": "2.1"}));
    assert_eq!((&body["status"], &body["health_endpoint"]), (&json!("up"), &json!("/healthz")));
    assert_eq!(body["url"], json!(format!("http://{}", service.address)));
    let (line, beat) = registry.any_call().await;
    assert_eq!((line.as_str(), &beat["generation"]), ("POST /heartbeat", &json!(7)));
    sidecar.stop().await;
    let (line, body) = registry.call().await;
    assert_eq!(line, format!("PATCH /v1/services/osint_service/instances/{}?generation=7", service.address));
    assert_eq!(body["status"], "draining");
    let epoch = "00000000000000000000000000000001";
    assert_eq!(registry.call().await.0, format!("GET /v1/barrier?revision=1&epoch={epoch}&timeout=5"));
    let delete = format!("DELETE /v1/services/osint_service/instances/{}?generation=7", service.address);
    assert_eq!(registry.call().await.0, delete);
    assert_eq!(registry.unseen(), [""; 0]);
}

#[tokio::test]
async fn after_the_wait_it_registers_as_starting_and_turns_up_later() {
    let service = Service::start(500, HEALTHY).await;
    let mut registry = Registry::start(Speaks::V1).await;
    let mut config = config(service.address, registry.address);
    config.initial_wait = Duration::from_millis(30);
    let _sidecar = start(config, None);
    let (line, body) = registry.call().await;
    assert_eq!((line, &body["status"]), (put(&service), &json!("starting")));
    assert_eq!(body["metadata"], json!({}));
    service.checked(5).await;
    assert_eq!(registry.unseen(), [""; 0], "a service that never was up does not go down");
    service.turn(200);
    // Its labels and its status may go together or one after the other.
    let body = loop {
        let (line, body) = registry.call().await;
        assert_eq!(line, put(&service));
        if body["status"] == "up" {
            break body;
        }
    };
    assert_eq!(body["metadata"]["version"], "2.1");
}

#[tokio::test]
async fn three_failed_checks_are_down_and_one_good_one_is_up() {
    let service = Service::start(200, "OK").await;
    let mut registry = Registry::start(Speaks::V1).await;
    let _sidecar = start(config(service.address, registry.address), None);
    assert_eq!(registry.call().await.1["status"], "up");
    for (answer, status) in [(404, "down"), (200, "up"), (301, "down"), (200, "up")] {
        service.turn(answer);
        let (line, body) = registry.call().await;
        assert_eq!((line, &body["status"]), (put(&service), &Value::from(status)));
    }
}

#[tokio::test]
async fn with_the_original_down_is_a_goodbye_and_up_is_a_registration() {
    let service = Service::start(200, HEALTHY).await;
    let mut registry = Registry::start(Speaks::OldCalls).await;
    let sidecar = start(config(service.address, registry.address), None);
    let register = json!({"service_name": "osint_service", "endpoint": format!("http://{}", service.address),
        "health_endpoint": "/healthz", "metadata": {"status": "healthy", "version": "2.1"}});
    assert_eq!(registry.call().await.0, put(&service));
    assert_eq!(registry.call().await, ("POST /register".into(), register.clone()));
    assert_eq!(
        registry.any_call().await,
        ("POST /heartbeat".into(), json!({"service_name": "osint_service"}))
    );
    service.turn(503);
    assert_eq!(registry.call().await.0, "DELETE /deregister/osint_service");
    assert_eq!(registry.call().await.0, put(&service), "the kind is asked again");
    service.turn(200);
    assert_eq!(registry.call().await.0, put(&service));
    assert_eq!(registry.call().await, ("POST /register".into(), register));
    sidecar.stop().await;
    assert_eq!(registry.call().await.0, "DELETE /deregister/osint_service");
}

#[tokio::test]
async fn it_ends_at_once_while_it_still_waits() {
    let service = Service::start(500, "").await;
    let mut registry = Registry::start(Speaks::V1).await;
    let sidecar = start(config(service.address, registry.address), None);
    service.checked(2).await;
    sidecar.stop().await;
    assert_eq!(registry.unseen(), [""; 0]);
}

#[tokio::test]
async fn it_ends_while_the_registry_is_away() {
    let service = Service::start(200, "").await;
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sidecar = start(config(service.address, away), None);
    service.checked(3).await;
    sidecar.stop().await;
}

#[tokio::test]
async fn ready_once_registered() {
    let service = Service::start(500, "").await;
    let mut registry = Registry::start(Speaks::V1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = listener.local_addr().unwrap();
    let _sidecar = start(config(service.address, registry.address), Some(listener));
    assert_eq!(get(admin, "/live").await.0, 200);
    let (status, text) = get(admin, "/ready").await;
    assert_eq!((status, text.trim()), (503, "not ready: registration"));
    service.turn(200);
    registry.call().await;
    let ready = async { while get(admin, "/ready").await.0 != 200 {} };
    support::soon("the sidecar to be ready", ready).await;
    assert!(get(admin, "/metrics").await.1.contains("vertice_sidecar_registered 1"));
}

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::get(path).header("host", "x").body(http_body_util::Empty::<bytes::Bytes>::new());
    let answer =
        tokio::time::timeout(PATIENCE, sender.send_request(request.unwrap())).await.unwrap().unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}
