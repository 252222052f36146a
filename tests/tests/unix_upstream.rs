//! A service at a Unix socket, which only an operator can name: reached, checked and shown as any other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;

use tokio::net::{TcpStream, UnixListener};
use vertice_tests::http::{get, raw_to_end, send_json};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN_HEADER};
use vertice_tests::wait::{PATIENCE, eventually};

/// A socket at `path` behind which `stub` answers. Ends with the test.
fn lead(path: &Path, stub: &Stub) -> tokio::task::JoinHandle<()> {
    let (listener, behind) = (UnixListener::bind(path).unwrap(), stub.address());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    })
}

async fn gateway(folder: &Path, registry: &Registry, socket: &Path) -> Gateway {
    let file = folder.join("gateway.toml");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[registry]\nurl = \"{}\"\n[health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n\
         [[service]]\nname = \"app_service\"\nfallback = [\"unix:{}\"]\n",
        registry.url(),
        socket.display()
    );
    std::fs::write(&file, text).unwrap();
    Gateway::start_configured(&file, &[]).await
}

#[tokio::test]
async fn requests_and_checks_go_to_the_socket_over_kept_connections_until_nobody_is_there() {
    let (registry, folder) = (Registry::start().await, tempfile::tempdir().unwrap());
    let socket = folder.path().join("app.sock");
    let stub = Stub::start("app").await;
    let leading = lead(&socket, &stub);
    let gateway = gateway(folder.path(), &registry, &socket).await;
    let instance = format!("unix:{}", socket.to_str().unwrap().replace('/', ":"));
    eventually(PATIENCE, "its page is asked", async || (stub.health_checks() >= 2).then_some(())).await;
    gateway.judges("app_service", &instance, "good", PATIENCE).await;
    let shown = get(gateway.admin, "/services").await.text();
    assert!(shown.contains(&format!("\"unix:{}\"", socket.display())), "{shown}");

    for _ in 0..20 {
        assert_eq!(gateway.get("/v2/app_service/x").await.json()["stub"], "app");
    }
    // Health checks have connections of their own.
    let (all, checks) = (stub.connections(), stub.health_checks());
    assert!(all <= checks + 4, "{all} connections, {checks} checks");
    // A client that names no host: the service's name.
    let answer = raw_to_end(gateway.address, b"GET /v2/app_service/x HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("[\"host\",\"app_service\"]"), "{answer}");

    leading.abort();
    std::fs::remove_file(&socket).unwrap();
    gateway.judges("app_service", &instance, "failing", PATIENCE).await;
}

#[tokio::test]
async fn a_registration_that_names_a_socket_is_refused() {
    let registry = Registry::start().await;
    let target = "/v1/services/app_service/instances/app:1";
    for url in ["unix:/run/app.sock", "http+unix://%2Frun%2Fapp.sock", "unix:///run/app.sock"] {
        let body = serde_json::json!({ "url": url, "ttl": 3600 });
        let answer = send_json(registry.address, "PUT", target, &[TOKEN_HEADER], &body).await;
        assert!(answer.status.is_client_error(), "{url}: {answer:?}");
    }
}
