//! How many connections an address may have, and how long one connection lasts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use vertice_tests::frames::{END_STREAM, Frames, GOAWAY, HEADERS};
use vertice_tests::http::{Connection, get, raw_to_end, request};
use vertice_tests::http2;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually, within};

async fn gateway(limits: &str) -> (Registry, Gateway) {
    let registry = Registry::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[limits]\n{limits}\n")).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    (registry, gateway)
}

async fn counted(gateway: &Gateway, line: &str) {
    eventually(PATIENCE, line, async || {
        get(gateway.admin, "/metrics").await.text().contains(line).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_has_its_share_of_connections_and_another_one_is_served() {
    let (_registry, gateway) = gateway("connections_per_address = 3").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(gateway.address).await.unwrap();
        assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
        open.push(connection);
    }
    let health = b"GET /health HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    let refused = async || {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.readable().await.unwrap();
        !matches!(stream.try_read(&mut [0; 1]), Ok(1..))
    };
    assert!(refused().await, "the fourth is closed without a word");
    counted(&gateway, "connections_over_address_total 1\n").await;
    // All of 127.0.0.0/8 is this machine.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let other = socket.connect(gateway.address).await.unwrap();
    other.writable().await.unwrap();
    assert!(other.try_write(health).is_ok());
    other.readable().await.unwrap();
    assert!(other.try_read(&mut [0; 100]).unwrap() > 12);
    // Who leaves makes room.
    drop(open.pop());
    eventually(PATIENCE, "there is room again", async || {
        let mut connection = Connection::open(gateway.address).await.ok()?;
        connection.send(request("GET", "/health", &[], "")).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_after_its_requests_and_none_of_them_is_lost() {
    let (_registry, gateway) = gateway("connection_requests = 3").await;
    let two = "GET /health HTTP/1.1\r\nhost: g\r\n\r\n".repeat(5);
    let came = raw_to_end(gateway.address, two.as_bytes()).await;
    assert_eq!(came.matches("HTTP/1.1 200 ").count(), 3, "{came}");
    assert_eq!(came.matches("connection: close\r\n").count(), 1, "only the last one says so: {came}");
    let mut connection = http2::Connection::open(gateway.address).await.unwrap();
    for round in 0..3 {
        let answer = connection.send(request("GET", "/health", &[], "")).await;
        assert_eq!(answer.unwrap().status, 200, "{round}");
    }
    eventually(PATIENCE, "the client is told to go", async || connection.is_closed().then_some(())).await;
    counted(&gateway, "connections_spent_total 2\n").await;
}

#[tokio::test]
async fn a_connection_ends_at_its_age_with_its_next_answer() {
    let (_registry, gateway) = gateway("connection_age = \"300ms\"").await;
    let mut connection = Connection::open(gateway.address).await.unwrap();
    let mut told = None;
    for _ in 0..100 {
        let answer = connection.send(request("GET", "/health", &[], "")).await.unwrap();
        told = answer.header("connection").map(str::to_owned);
        if told.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told.as_deref(), Some("close"));
    counted(&gateway, "connections_spent_total 1\n").await;
}

#[tokio::test]
async fn a_quiet_connection_ends_at_its_age() {
    let (_registry, gateway) = gateway("connection_age = \"300ms\"").await;
    let mut frames = Frames::open(gateway.address).await;
    // After a request it could stay for 75 seconds.
    frames.get([1], "/health").await;
    while frames.next().await.unwrap().flags & END_STREAM == 0 {}
    // GOAWAY comes twice: a warning, and which stream was the last (RFC 9113 6.8).
    while let Some(frame) = frames.next().await {
        assert_eq!((frame.kind, &frame.payload[4..8]), (GOAWAY, &[0; 4][..]));
    }
    // HTTP/1.1 has no word for it: it just closes.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: g\r\n\r\n").await.unwrap();
    let mut came = String::new();
    within(PATIENCE, "its end", stream.read_to_string(&mut came)).await.unwrap();
    assert!(came.starts_with("HTTP/1.1 200 ") && !came.contains("connection: close"), "{came}");
    counted(&gateway, "connections_spent_total 2\n").await;
}

#[tokio::test]
async fn a_connection_with_one_long_stream_is_told_to_end_at_its_age_and_the_stream_goes_on() {
    let stub = Stub::start("echo").await;
    let (registry, gateway) = gateway("connection_age = \"300ms\"").await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    gateway.routes_to("echo_service", "echo", PATIENCE).await;
    let mut frames = Frames::open(gateway.address).await;
    frames.get([1], "/v2/echo_service/stub/hold").await;
    stub.held(1).await;
    let told = frames.next().await.unwrap();
    assert_eq!((told.kind, &told.payload[4..8]), (GOAWAY, &[0; 4][..]));
    stub.release();
    let mut rest = Vec::new();
    while let Some(frame) = frames.next().await {
        rest.push((frame.kind, frame.stream));
    }
    assert!(rest.contains(&(HEADERS, 1)), "{rest:?}");
}
