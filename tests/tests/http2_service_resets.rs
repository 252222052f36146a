//! A service over HTTP/2 that resets whatever it is asked: its own requests fail, within bounds, and nobody else's do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vertice_tests::echo;
use vertice_tests::frames::{HEADERS, PREFACE, RST_STREAM, SETTINGS, frame};
use vertice_tests::http::request;
use vertice_tests::http2::Connection;
use vertice_tests::wait::{PATIENCE, eventually};

const REQUESTS: usize = 300;

/// Listens and resets every stream with `code` before anything of an answer; counts them.
async fn resetting(code: u8) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = streams.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(reset_all(stream, code, counted.clone()));
        }
    });
    (address, streams)
}

async fn reset_all(mut stream: TcpStream, code: u8, streams: Arc<AtomicUsize>) -> std::io::Result<()> {
    stream.read_exact(&mut vec![0; PREFACE.len()]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4]) {
            (SETTINGS, 0) => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            (HEADERS, _) => {
                streams.fetch_add(1, Ordering::Relaxed);
                stream.write_all(&frame(RST_STREAM, 0, id, &[0, 0, 0, code])).await?;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_service_that_resets_every_stream_fails_alone_and_is_not_asked_without_end() {
    let (_stub, registry, gateway) = echo::http1().await;
    // REFUSED_STREAM and CANCEL. A GET may be tried once more; that is all.
    for (name, code) in [("refusing_service", 7), ("cancelling_service", 8)] {
        let (address, streams) = resetting(code).await;
        let metadata = json!({ "protocol": "h2c", "health": "tcp" });
        registry.put_with(name, "r:1", &format!("http://{address}"), metadata).await;
        let mut client = Connection::open(gateway.address).await.unwrap();
        let target = format!("/v2/{name}/x");
        let asking = client.clone();
        eventually(PATIENCE, "the service is known", async || {
            let answer = asking.clone().send(request("POST", &target, &[], "x")).await.unwrap();
            (answer.header("x-vertice-reason") != Some("no_endpoint")).then_some(())
        })
        .await;
        let before = streams.load(Ordering::Relaxed);
        for n in 0..REQUESTS {
            let answer = client.send(request("GET", &target, &[], "")).await.unwrap();
            assert!([502, 503].contains(&answer.status.as_u16()), "{n}: {answer:?}");
            let other = client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap();
            assert_eq!(other.status, 200, "{n}: on the same connection of the client");
        }
        let asked = streams.load(Ordering::Relaxed) - before;
        assert!(asked <= 2 * REQUESTS, "{name}: {asked}");
    }
}
