//! SIGTERM: what is in flight is finished, nothing new is taken, and the program ends by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use rustix::process::Signal;
use tokio::net::TcpStream;
use vertice_tests::http::{Connection, get, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually};

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let registry = Registry::start().await;
    let stub = Stub::start("slow").await;
    registry.put("slow_service", "slow:1", &stub.url()).await;
    let gateway = Gateway::start(&registry.url()).await;
    let mut idle = Connection::open(gateway.address).await.unwrap();
    assert_eq!(idle.send(request("GET", "/v2/slow_service/x", &[], "")).await.unwrap().status, 200);

    let address = gateway.address;
    let in_flight =
        tokio::spawn(
            async move { send(address, request("GET", "/v2/slow_service/stub/hold", &[], "")).await },
        );
    stub.held(1).await;
    gateway.program.signal(Signal::TERM);
    eventually(PATIENCE, "no new connection is taken", async || {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    assert!(!in_flight.is_finished());
    stub.release();
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["stub"]), (200, &"slow".into()));
    let ended = gateway.program.ended().await;
    assert!(ended.status.success(), "{ended:?}");
}

#[tokio::test]
async fn the_limit_on_connections_does_not_hold_up_the_end() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[[listener]]\naddress = \"127.0.0.1:0\"\n[limits]\nconnections = 2\n")
        .unwrap();
    let registry = Registry::start().await;
    let config = file.path().to_str().unwrap();
    let gateway = Gateway::start_with(&registry.url(), &["--config", config, "--workers", "1"], &[]).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(gateway.address).await.unwrap();
        assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
        idle.push(connection);
    }
    gateway.program.signal(Signal::TERM);
    // The drain timeout of 30 s is longer than this waits.
    let ended = gateway.program.ended().await;
    assert!(ended.status.success(), "{ended:?}");
}

#[tokio::test]
async fn registry_and_sidecar_end_on_sigterm_and_the_sidecar_deregisters() {
    let registry = Registry::start().await;
    let stub = Stub::start("beside").await;
    let environment =
        vertice_tests::system::sidecar_environment("beside_service", stub.address(), &registry.url());
    let sidecar = vertice_tests::system::start_sidecar(&environment);
    eventually(PATIENCE, "the sidecar has registered", async || {
        (get(registry.address, "/services/beside_service").await.status == 200).then_some(())
    })
    .await;
    assert!(sidecar.stop().await.status.success());
    assert_eq!(get(registry.address, "/services").await.json(), serde_json::json!([]));
    let ended = registry.program.stop().await;
    assert!(ended.status.success(), "{ended:?}");
}
