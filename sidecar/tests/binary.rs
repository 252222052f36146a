//! The program itself: its exit codes, its messages, its signals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::process::{Output, Stdio};

use support::{Registry, Service, Speaks, soon};
use tokio::process::{Child, Command};

fn sidecar(environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vertice-sidecar"));
    command.env_clear().envs(environment.iter().copied()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

async fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = soon("the end", child.wait_with_output()).await.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_name_out_of_rule_is_one_message_and_exit_1() {
    let (code, message) = end(sidecar(&[("SERVICE_NAME", "Osint Service"), ("SERVICE_HOST", "h")])).await;
    assert_eq!(code, Some(1));
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in ["SERVICE_NAME", "Osint Service", "^[a-z0-9][a-z0-9_-]{1,63}$"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let (code, message) = end(sidecar(&[("SERVICE_PORT", "0"), ("REGISTRY_URL", "nowhere")])).await;
    assert_eq!(code, Some(1));
    for variable in ["SERVICE_NAME", "SERVICE_HOST", "SERVICE_PORT", "REGISTRY_URL"] {
        assert!(message.contains(variable), "{variable} in {message}");
    }
}

#[tokio::test]
async fn a_taken_admin_port_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let environment = [("SERVICE_NAME", "osint"), ("SERVICE_HOST", "h"), ("ADMIN_LISTEN", address.as_str())];
    let (code, message) = end(sidecar(&environment)).await;
    assert_eq!(code, Some(1));
    assert!(message.contains(&format!("ADMIN_LISTEN={address}")), "{message}");
}

#[tokio::test]
async fn both_signals_take_the_registration_back_and_exit_0() {
    for signal in ["-TERM", "-INT"] {
        let service = Service::start(200, "{}").await;
        let mut registry = Registry::start(Speaks::V1).await;
        let (host, port) = (service.address.ip().to_string(), service.address.port().to_string());
        let url = format!("http://{}", registry.address);
        let child = sidecar(&[
            ("SERVICE_NAME", "osint_service"),
            ("SERVICE_HOST", &host),
            ("SERVICE_PORT", &port),
            ("SERVICE_HEALTH_ENDPOINT", "/healthz"),
            ("REGISTRY_URL", &url),
            ("REGISTRY_AUTH_TOKEN", "s3cret"),
        ]);
        assert!(registry.call().await.0.starts_with("PUT "));
        assert_eq!(registry.token().as_deref(), Some("s3cret"));
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        for call in ["PATCH ", "GET /v1/barrier", "DELETE "] {
            assert!(registry.call().await.0.starts_with(call));
        }
        let (code, log) = end(child).await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
}
