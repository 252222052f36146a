//! One health check: exactly 200 is healthy, and no answer can hurt.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::{PATIENCE, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vertice_registry_api::{HealthPath, Metadata, ServiceUrl};
use vertice_sidecar::probe::{Unhealthy, probe};

/// Probes a service that answers one request with exactly `bytes`, then closes (or, `open`, does not).
async fn probed(bytes: Vec<u8>, open: bool, limit: Duration) -> Result<Metadata, Unhealthy> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = ServiceUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let service = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        let _ = stream.write_all(&bytes).await;
        if open {
            let _ = stream.read_u8().await;
        }
        String::from_utf8(head).unwrap()
    });
    let path = HealthPath::parse("/healthz").unwrap();
    let outcome = soon("a probe", probe(&endpoint, &path, limit)).await;
    let head = soon("the service", service).await.unwrap();
    assert!(head.starts_with("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:"), "{head}");
    outcome
}

#[tokio::test]
async fn exactly_200_is_healthy() {
    let answer = |status: u16| format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").into_bytes();
    assert_eq!(probed(answer(200), false, PATIENCE).await, Ok(Metadata::default()));
    for status in [201, 204, 301, 302, 404, 500, 503] {
        assert_eq!(probed(answer(status), false, PATIENCE).await, Err(Unhealthy::Status(status)));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = b"HTTP/1.1 302 X\r\nlocation: /healthz\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(probed(answer.to_vec(), true, PATIENCE).await, Err(Unhealthy::Status(302)));
}

#[tokio::test]
async fn a_json_body_gives_metadata_and_any_other_body_gives_none() {
    let body = r#"{"version":"3","status":"ok"}"#;
    let answer = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let metadata = probed(answer.into_bytes(), true, PATIENCE).await.unwrap();
    assert_eq!(metadata.get("version"), Some("3"));
    let huge = 10 << 20;
    let mut flood = format!("HTTP/1.1 200 X\r\ncontent-length: {huge}\r\n\r\n").into_bytes();
    flood.resize(huge, b'{');
    assert_eq!(probed(flood, false, PATIENCE).await, Ok(Metadata::default()));
    let cut = b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"version\"".to_vec();
    assert_eq!(probed(cut, false, PATIENCE).await, Ok(Metadata::default()));
    let endless = b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{".to_vec();
    assert_eq!(probed(endless, true, Duration::from_millis(400)).await, Ok(Metadata::default()));
}

#[tokio::test]
async fn silence_noise_and_nobody_are_unhealthy() {
    let limit = Duration::from_millis(50);
    assert_eq!(probed(Vec::new(), true, limit).await, Err(Unhealthy::Silent(limit)));
    assert!(matches!(probed(Vec::new(), false, PATIENCE).await, Err(Unhealthy::Unreachable(_))));
    assert!(matches!(
        probed(b"220 mail\r\n\r\n".to_vec(), false, PATIENCE).await,
        Err(Unhealthy::Unreachable(_))
    ));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = ServiceUrl::parse(&format!("http://{nobody}")).unwrap();
    let outcome = probe(&endpoint, &HealthPath::default(), PATIENCE).await;
    assert!(matches!(outcome, Err(Unhealthy::Unreachable(reason)) if reason.contains("refused")));
}
