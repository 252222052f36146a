//! The gateway's check of gRPC against a real gRPC server with the health service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::json;
use tokio::net::TcpListener;
use vertice_tests::http;
use vertice_tests::python::Script;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN_HEADER};
use vertice_tests::wait::{PATIENCE, eventually};

/// A gRPC server of Python's; it ends with this.
struct Server {
    script: Script,
    url: String,
}

impl Server {
    async fn start(arguments: &[&str]) -> Self {
        let mut script = Script::start("interop/grpc_health_server.py", arguments);
        let url = script.url().await;
        Self { script, url }
    }

    async fn set(&mut self, service: &str, status: &str) {
        self.script.tell(&format!("{service} {status}")).await;
        assert_eq!(self.script.line().await.as_deref(), Some("set"));
    }
}

async fn register(registry: &Registry, instance: &str, url: &str, service: Option<&str>) {
    let mut metadata = json!({ "health": "grpc" });
    if let Some(service) = service {
        metadata["grpc_service"] = json!(service);
    }
    let target = format!("/v1/services/rpc_service/instances/{instance}");
    let body = json!({ "url": url, "ttl": 3600, "metadata": metadata });
    let answer = http::send_json(registry.address, "PUT", &target, &[TOKEN_HEADER], &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// Waits until the last check of `instance` came to `result`.
async fn checked(gateway: &Gateway, instance: &str, result: &str) {
    eventually(PATIENCE, &format!("{instance}: {result}"), async || {
        let health = gateway.health_of("rpc_service", instance).await;
        (health["last_check"]["result"] == result).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serving_passes_and_everything_else_has_its_own_word() {
    let registry = Registry::start().await;
    let (mut server, bare) = (Server::start(&[]).await, Server::start(&["bare"]).await);
    for (service, status) in [
        ("-", "SERVING"),
        ("ready.Service", "SERVING"),
        ("busy.Service", "NOT_SERVING"),
        ("new.Service", "UNKNOWN"),
    ] {
        server.set(service, status).await;
    }
    let http_only = Stub::start("http").await;
    register(&registry, "whole", &server.url, None).await;
    register(&registry, "ready", &server.url, Some("ready.Service")).await;
    register(&registry, "busy", &server.url, Some("busy.Service")).await;
    register(&registry, "new", &server.url, Some("new.Service")).await;
    register(&registry, "other", &server.url, Some("other.Service")).await;
    register(&registry, "bare", &bare.url, None).await;
    register(&registry, "http", &http_only.url(), None).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    register(&registry, "nobody", &format!("http://{nobody}"), None).await;
    let gateway = Gateway::start(&registry.url()).await;
    for (instance, result) in [
        ("whole", "passed"),
        ("ready", "passed"),
        ("busy", "not_serving"),
        ("new", "unknown"),
        ("other", "no_such_service"),
        ("bare", "unimplemented"),
        ("http", "bad_answer"),
        ("nobody", "refused"),
    ] {
        checked(&gateway, instance, result).await;
    }
    gateway.judges("rpc_service", "ready", "good", PATIENCE).await;
    gateway.judges("rpc_service", "busy", "failing", PATIENCE).await;
    server.set("busy.Service", "SERVING").await;
    gateway.judges("rpc_service", "busy", "good", PATIENCE).await;
    server.set("-", "NOT_SERVING").await;
    gateway.judges("rpc_service", "whole", "failing", PATIENCE).await;
    checked(&gateway, "ready", "passed").await;
}
