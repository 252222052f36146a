//! Handshakes: versions, resumption, what is agreed on, who is cut at the deadline, and who is at the wrong door.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vertice_tests::http::{self, request};
use vertice_tests::http2;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::tls::{Authority, Folder, counts, start_gateway};
use vertice_tests::wait::PATIENCE;

const NAME: &str = "a.example";
const TARGET: &str = "/v2/echo_service/x";

struct System {
    ca: Authority,
    gateway: Gateway,
    _folder: Folder,
    _stub: Stub,
    _registry: Registry,
}

async fn system(lines: &str) -> System {
    let (ca, folder) = (Authority::new("tests"), Folder::default());
    ca.server(&[NAME, "also.example"]).put(&folder.certificates(), "a");
    ca.server(&["b.example"]).put(&folder.certificates(), "b");
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let config = folder.config(&format!("{}\n{lines}", folder.all()), "");
    let gateway = start_gateway(&registry.url(), &config).await;
    System { ca, gateway, _folder: folder, _stub: stub, _registry: registry }
}

async fn failures(system: &System, reason: &str, wanted: u32) {
    let series =
        format!("vertice_gateway_tls_handshake_failures_total{{listener=\"secure\",reason=\"{reason}\"}}");
    counts(&system.gateway, &series, wanted).await;
}

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_are_resumed_at_every_worker() {
    let system = system("").await;
    for (client, version) in [(system.ca.trusting(), "TLSv1_3"), (system.ca.trusting().tls12(), "TLSv1_2")] {
        let client = client.remembering();
        let mut kept = Vec::new();
        for round in 0..8 {
            let (mut connection, seen) = client.connect(system.gateway.address, NAME).await.unwrap();
            let answer = connection.send(request("GET", TARGET, &[("host", NAME)], "")).await.unwrap();
            assert_eq!((answer.status.as_u16(), seen.version.as_str()), (200, version));
            // Open connections spread over both workers: what one issued, the other one takes.
            assert_eq!(seen.resumed, round > 0, "{version}, connection {round}");
            kept.push(connection);
        }
    }
}

#[tokio::test]
async fn an_old_version_is_refused_where_a_newer_one_is_asked_for() {
    let system = system("min_version = \"1.3\"").await;
    assert!(system.ca.trusting().get(system.gateway.address, NAME, TARGET).await.is_ok());
    assert!(system.ca.trusting().tls12().connect(system.gateway.address, NAME).await.is_err());
    failures(&system, "version", 1).await;
}

#[tokio::test]
async fn http2_is_spoken_where_it_was_agreed_on_and_nowhere_else() {
    let system = system("").await;
    let both = system.ca.trusting().offering(&["h2", "http/1.1"]);
    let stream = both.handshake(system.gateway.address, NAME).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut connection = http2::Connection::over(stream, system.gateway.address).await.unwrap();
    let answer = connection.send(request("GET", TARGET, &[], "")).await.unwrap();
    // The client's :authority is an address, for which the certificate is not.
    assert_eq!(answer.status, 421);
    let only_1 = system.ca.trusting().offering(&["http/1.1"]);
    let (_, seen) = only_1.connect(system.gateway.address, NAME).await.unwrap();
    assert_eq!(seen.alpn.as_deref(), Some("http/1.1"));
    // HTTP/1.1 where HTTP/2 was agreed on, and the other way round.
    for (offer, bytes) in [
        (&["h2"][..], &b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n"[..]),
        (&["http/1.1"], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ] {
        let client = system.ca.trusting().offering(offer);
        let mut stream = client.handshake(system.gateway.address, NAME).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"", "{offer:?}");
    }
}

#[tokio::test]
async fn a_request_for_a_host_whose_certificate_was_not_shown_is_misdirected() {
    let system = system("").await;
    let (mut connection, _) = system.ca.trusting().connect(system.gateway.address, NAME).await.unwrap();
    for (host, status) in
        [(NAME, 200), ("A.Example.:443", 200), ("also.example", 200), ("b.example", 421), ("c.example", 421)]
    {
        let answer = connection.send(request("GET", TARGET, &[("host", host)], "")).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{host}");
    }
}

#[tokio::test]
async fn who_does_not_finish_is_cut_at_the_deadline_and_others_are_served_meanwhile() {
    let system = system("handshake_timeout = \"1s\"\nhandshakes = 1").await;
    // Silent ones, and ones that stop in the middle of their first record: many more than there are permits.
    let mut stalled = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(system.gateway.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
        }
        stalled.push(stream);
    }
    let answer = system.ca.trusting().get(system.gateway.address, NAME, TARGET).await.unwrap();
    assert_eq!(answer.status, 200);
    for stream in &mut stalled {
        let mut byte = [0; 1];
        let read = timeout(PATIENCE, stream.read(&mut byte)).await.expect("cut");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    failures(&system, "timeout", 40).await;
}

#[tokio::test]
async fn http_at_the_https_port_is_told_so() {
    let system = system("").await;
    let answer = http::raw_to_end(system.gateway.address, b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
    let nonsense = http::raw(system.gateway.address, &[0, 1, 2, 3], Duration::from_secs(5)).await;
    assert_eq!(nonsense, b"");
    failures(&system, "plain_http", 1).await;
    failures(&system, "not_tls", 1).await;
}
