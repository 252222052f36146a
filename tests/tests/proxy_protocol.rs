//! A load balancer that passes bytes on says who the client is with a PROXY header, and only who is listed is believed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::path::PathBuf;

use vertice_tests::http::raw_to_end;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

const REQUEST: &str = "GET /v2/echo_service/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

async fn system(proxy_protocol: &str) -> (Stub, Registry, tempfile::TempDir, Gateway) {
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("gateway.toml");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = {proxy_protocol}\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [registry]\nurl = \"{}\"\n",
        registry.url()
    );
    std::fs::write(&file, text).unwrap();
    let gateway = Gateway::start_configured(&file, &[]).await;
    gateway.ready().await;
    (stub, registry, folder, gateway)
}

async fn ask(address: SocketAddr, header: &[u8]) -> String {
    raw_to_end(address, &[header, REQUEST.as_bytes()].concat()).await
}

#[tokio::test]
async fn a_listed_peer_names_the_client_in_either_version() {
    let (_stub, _registry, _folder, gateway) = system("[\"127.0.0.0/8\"]").await;
    let v1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n";
    let v2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 7, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb]].concat();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, client) in [(&v1[..], "192.0.2.7"), (&v2, "192.0.2.7"), (local, "127.0.0.1")] {
        let answer = ask(gateway.address, header).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&format!("[\"x-forwarded-for\",\"{client}\"]")), "{answer}");
    }
    let http2 = [
        v1,
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
    ]
    .concat();
    let answer = vertice_tests::http::raw(gateway.address, &http2, std::time::Duration::from_secs(1)).await;
    assert!(answer.windows(5).any(|part| part == [8, 6, 1, 0, 0]), "HTTP/2 behind it, too: no PING answered");
}

#[tokio::test]
async fn a_listed_peer_without_the_header_is_closed_and_an_unlisted_one_with_it_is_no_http() {
    let (stub, _registry, _folder, gateway) = system("[\"127.0.0.0/8\"]").await;
    let before = stub.requests();
    assert_eq!(ask(gateway.address, b"").await, "");
    assert_eq!(ask(gateway.address, b"PROXY TCP4 1.2.3.4\r\n").await, "");
    assert_eq!(stub.requests(), before);
    let metrics = vertice_tests::http::get(gateway.admin, "/metrics").await.text();
    assert!(metrics.contains("heads_refused_total{reason=\"proxy_protocol\"} 2"), "{metrics}");

    let (_stub, _registry, _folder, gateway) = system("[\"10.0.0.0/8\"]").await;
    let answer = ask(gateway.address, b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(ask(gateway.address, b"").await.starts_with("HTTP/1.1 200 "));
}
