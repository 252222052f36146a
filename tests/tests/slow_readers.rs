//! A client that takes its answer more slowly than it owes is cut, and others are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use vertice_tests::http::{get, request};
use vertice_tests::http2;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually};

/// More than kernels and the gateway take in for a client, and as much a second as no client that dawdles takes.
const LARGE: &str = "/v2/core_service/stub/chunks/20000";
const RATE: &str = "[limits]\nmin_response_rate = \"1MiB\"\n[timeouts]\nidle = \"10m\"\n";

async fn system(limits: &str) -> (Stub, Registry, Gateway) {
    let (stub, registry) = (Stub::start("core").await, Registry::start().await);
    registry.put("core_service", "core:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), limits).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    gateway.routes_to("core_service", "core", PATIENCE).await;
    (stub, registry, gateway)
}

async fn cut(gateway: &Gateway, count: u64) {
    let line = format!("vertice_gateway_slow_readers_total {count}\n");
    eventually(Duration::from_secs(40), &line, async || {
        get(gateway.admin, "/metrics").await.text().contains(&line).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_is_cut_over_http1_and_who_reads_on_gets_everything() {
    let (_stub, _registry, gateway) = system(RATE).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut slow = socket.connect(gateway.address).await.unwrap();
    slow.write_all(format!("GET {LARGE} HTTP/1.1\r\nhost: g\r\n\r\n").as_bytes()).await.unwrap();
    // It takes some, a little at a time: it is never idle.
    let dripping = tokio::spawn(async move {
        let mut piece = [0; 1000];
        while slow.read(&mut piece).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    cut(&gateway, 1).await;
    assert_eq!(get(gateway.address, LARGE).await.body.len(), 20_000_000);
    dripping.abort();
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(metrics.contains("vertice_gateway_connections_timed_out_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_slow_stream_is_reset_over_http2_and_its_neighbours_go_on() {
    let (_stub, _registry, gateway) = system(RATE).await;
    let mut connection = http2::Connection::open(gateway.address).await.unwrap();
    // The answer's body is never asked for: the window of the stream closes.
    let slow = connection.begin(request("GET", LARGE, &[], "")).await.unwrap();
    cut(&gateway, 1).await;
    assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
    assert!(http2::whole(slow).await.is_err(), "it was reset");
}
