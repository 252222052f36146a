//! An endpoint that accepts and closes without an answer: what may be repeated goes to another, what may not is a 502.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vertice_tests::http;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};

/// Says that it is healthy, and closes every other connection once something came of a request. How many those were.
async fn closer() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            match stream.read(&mut head).await {
                Ok(bytes) if head[..bytes].starts_with(b"GET /health ") => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
                Ok(bytes) if bytes > 0 => {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
    });
    (url, closed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_is_repeated_elsewhere_and_a_post_is_not() {
    let registry = Registry::start().await;
    let stub = Stub::start("answers").await;
    let (url, closed) = closer().await;
    registry.put("pair_service", "answers", &stub.url()).await;
    registry.put("pair_service", "closes", &url).await;
    let gateway = Gateway::start(&registry.url()).await;
    // Fewer than would have the endpoint left out.
    let met = |times: usize| closed.load(Ordering::SeqCst) >= times;
    let mut gets = 0;
    while !met(2) && gets < 500 {
        assert_eq!(gateway.get("/v2/pair_service/x").await.status, 200);
        gets += 1;
    }
    assert!(met(2), "the closing endpoint was not chosen in {gets} requests");

    let before = closed.load(Ordering::SeqCst);
    let mut refused = 0;
    for _ in 0..500 {
        let request = http::request("POST", "/v2/pair_service/x", &[], "body");
        refused += usize::from(http::send(gateway.address, request).await.status == 502);
        if met(before + 1) {
            break;
        }
    }
    assert_eq!(refused, 1, "the POST that met the closing endpoint was not repeated");
}
