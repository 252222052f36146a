//! WebSockets pass: over HTTP/1.1 (RFC 6455) and over HTTP/2 (RFC 8441), byte for byte, for as long as something moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vertice_tests::http::raw;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, within};

const HANDSHAKE: &str = "GET /v2/chat_service/room?x=1 HTTP/1.1\r\nHost: front.test\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A service that answers each handshake with `answer` and then sends back every byte; and the heads that it saw.
async fn service(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, seen) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap_or(b'\n'));
                }
                heads.send(String::from_utf8_lossy(&head).to_lowercase()).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    (address, seen)
}

const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello";

async fn system(answer: &'static str, config: &str) -> (mpsc::Receiver<String>, Registry, Gateway) {
    let (address, seen) = service(answer).await;
    let registry = Registry::start().await;
    let url = format!("http://{address}");
    registry.put_with("chat_service", "chat:1", &url, json!({ "health": "tcp" })).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let arguments = ["--config", file.path().to_str().unwrap()];
    let gateway = Gateway::start_with(&registry.url(), &arguments, &[]).await;
    (seen, registry, gateway)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Sends `count` bytes and expects them back after `hello`.
async fn echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), count: usize) {
    within(PATIENCE, "every byte comes back", async {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent: Vec<u8> = (0..count).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut back = vec![0; count];
        let (written, read) = tokio::join!(
            async {
                writer.write_all(&sent).await?;
                writer.flush().await
            },
            reader.read_exact(&mut back)
        );
        written.unwrap();
        read.unwrap();
        assert!(back == sent);
    })
    .await;
}

async fn hello(stream: &mut (impl AsyncRead + Unpin)) {
    let mut first = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"hello", "what came with the answer is not lost");
}

#[tokio::test]
async fn over_http1_every_byte_passes_in_both_directions() {
    let (mut seen, _registry, gateway) = system(AGREED, "").await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    for line in [
        "http/1.1 101 ",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nsec-websocket-protocol: chat\r\n",
        "\r\nx-request-id: ",
    ] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    let asked = seen.recv().await.unwrap();
    for line in [
        "get /room?x=1 http/1.1\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
        "\r\nhost: front.test\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
    ] {
        assert!(asked.contains(line), "{line:?} is not in {asked}");
    }
    hello(&mut client).await;
    echoes(&mut client, 3_000_000).await;
    client.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, client.read(&mut [0; 10])).await.unwrap().unwrap(), 0, "an end passes, too");
}

#[tokio::test]
async fn over_http2_a_stream_becomes_a_websocket_and_others_go_on() {
    let (mut seen, _registry, gateway) = system(AGREED, "").await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let target = |path: &str| format!("http://front.test{path}");
    let plain = Request::get(target("/health")).body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(plain.clone()).await.unwrap().status(), 200);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(target("/v2/chat_service/room?x=1"))
        .header("sec-websocket-version", "13")
        .body(Empty::<Bytes>::new())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let asked = seen.recv().await.unwrap();
    assert!(asked.starts_with("get /room?x=1 http/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("\r\nupgrade: websocket\r\n") && asked.contains("\r\nsec-websocket-key: "),
        "{asked}"
    );
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    hello(&mut tunnel).await;
    echoes(&mut tunnel, 1_000_000).await;
    assert_eq!(sender.send_request(plain).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_service_that_declines_answers_as_it_likes() {
    let declined = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    let (_seen, _registry, gateway) = system(declined, "").await;
    let answer = raw(gateway.address, HANDSHAKE.as_bytes(), Duration::from_secs(1)).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\nno"), "{answer}");
}

#[tokio::test]
async fn a_switch_to_something_else_is_no_answer() {
    let other = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    let (_seen, _registry, gateway) = system(other, "").await;
    let answer = raw(gateway.address, HANDSHAKE.as_bytes(), Duration::from_secs(1)).await;
    assert!(answer.starts_with(b"HTTP/1.1 502 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn silence_ends_it_after_stream_idle_and_not_after_idle() {
    let config = "[timeouts]\nidle = \"100ms\"\nstream_idle = \"2s\"\n";
    let (_seen, _registry, gateway) = system(AGREED, config).await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    hello(&mut client).await;
    let started = tokio::time::Instant::now();
    assert_eq!(timeout(PATIENCE, client.read(&mut [0; 10])).await.unwrap().unwrap_or(0), 0);
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn sigterm_leaves_it_its_time_and_no_more() {
    let (_seen, _registry, gateway) = system(AGREED, "[limits]\ndrain_timeout = \"1s\"\n").await;
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    hello(&mut client).await;
    gateway.program.signal(Signal::TERM);
    echoes(&mut client, 1000).await;
    within(PATIENCE, "the gateway ends at its deadline", gateway.program.ended()).await;
}
