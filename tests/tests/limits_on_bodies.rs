//! Bodies that are larger than their route takes, and bodies that come too slowly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::http::{get, raw_to_end, request, send};
use vertice_tests::http2;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::within;

const CONFIG: &str = r#"
[limits]
body_bytes = 1000
min_body_rate = 100

[[route]]
name = "uploads"
prefix = "/uploads"
service = "core_service"
body_bytes = "none"
"#;

async fn system() -> (Stub, Registry, Gateway) {
    let (stub, registry) = (Stub::start("core").await, Registry::start().await);
    registry.put("core_service", "core:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONFIG).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    (stub, registry, gateway)
}

#[tokio::test]
async fn a_declared_body_that_is_too_large_is_413_before_the_service_hears_of_it() {
    let (stub, _registry, gateway) = system().await;
    let target = "/v2/core_service/stub/count";
    let fits = send(gateway.address, request("POST", target, &[], vec![b'x'; 1000])).await;
    assert_eq!((fits.status.as_u16(), fits.text().as_str()), (200, "1000"), "{fits:?}");
    let seen = stub.requests();
    let head =
        "POST /v2/core_service/x HTTP/1.1\r\nhost: g\r\ncontent-length: 1001\r\nexpect: 100-continue\r\n\r\n";
    let came = raw_to_end(gateway.address, head.as_bytes()).await;
    assert!(came.starts_with("HTTP/1.1 413 ") && came.contains("body_too_large"), "{came}");
    assert!(came.contains("connection: close\r\n"), "{came}");
    let mut connection = http2::Connection::open(gateway.address).await.unwrap();
    let answer = connection.send(request("POST", target, &[], vec![b'x'; 1001])).await.unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
    assert_eq!(stub.requests(), seen);
    // A route of its own takes more.
    let large = send(gateway.address, request("POST", "/uploads/stub/count", &[], vec![b'x'; 100_000])).await;
    assert_eq!((large.status.as_u16(), large.text().as_str()), (200, "100000"), "{large:?}");
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(metrics.contains("own_answers_total{reason=\"body_too_large\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_chunked_body_is_cut_before_the_service_sees_what_is_too_much() {
    let (stub, _registry, gateway) = system().await;
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    let head = "POST /v2/core_service/stub/count HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n";
    let came = raw_to_end(gateway.address, format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(came.starts_with("HTTP/1.1 413 ") && came.contains("connection: close\r\n"), "{came}");
    let next = send(gateway.address, request("POST", "/v2/core_service/stub/count", &[], "abc")).await;
    assert_eq!(next.text(), "3", "the next request has a service connection of its own: {next:?}");
    drop(stub);
}

#[tokio::test]
async fn a_body_that_drips_is_408_while_others_are_served() {
    let (_stub, _registry, gateway) = system().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /uploads/stub/count HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // A byte a quarter of a second: far from idle, and far below the rate.
    let (mut reader, mut writer) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let mut came = Vec::new();
    within(Duration::from_secs(20), "the drip is cut", reader.read_to_end(&mut came)).await.unwrap();
    dripping.abort();
    let came = String::from_utf8_lossy(&came);
    assert!(came.starts_with("HTTP/1.1 408 ") && came.contains("client_body_timeout"), "{came}");
    assert_eq!(gateway.get("/v2/core_service/x").await.status, 200);
}
