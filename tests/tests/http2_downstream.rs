//! Clients speak HTTP/2 with prior knowledge to the same port; services see HTTP/1.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vertice_tests::echo;
use vertice_tests::frames::{Frames, PREFACE, RST_STREAM};
use vertice_tests::http::{get, request};
use vertice_tests::http2::{Connection, whole};
use vertice_tests::stub::Stub;
use vertice_tests::wait::{PATIENCE, eventually, within};

#[tokio::test]
async fn a_request_is_translated_by_the_book() {
    let (_stub, _registry, gateway) = echo::http1().await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let headers =
        [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-many", "1"), ("x-many", "2")];
    let answer =
        client.send(request("PATCH", "/v2/echo_service/p%2Fq?x=1&x=2", &headers, "body")).await.unwrap();
    let echoed = answer.json();
    assert_eq!((&echoed["method"], &echoed["target"]), (&"PATCH".into(), &"/p%2Fq?x=1&x=2".into()));
    assert_eq!((&echoed["version"], &echoed["body"]), (&"HTTP/1.1".into(), &"body".into()));
    assert_eq!(echo::seen(&echoed, "cookie"), ["a=1; b=2"], "crumbs are joined (RFC 9113 8.2.3)");
    assert_eq!(echo::seen(&echoed, "host"), [gateway.address.to_string()], "Host is :authority");
    assert_eq!(echo::seen(&echoed, "te"), ["trailers"]);
    assert_eq!(echo::seen(&echoed, "x-many"), ["1", "2"]);
    assert!(answer.header("x-request-id").is_some());
}

#[tokio::test]
async fn many_streams_at_once_and_a_held_one_holds_up_no_other() {
    let (stub, _registry, gateway) = echo::http1().await;
    let client = Connection::open(gateway.address).await.unwrap();
    let mut held = client.clone();
    let held =
        tokio::spawn(async move { held.send(request("GET", "/v2/echo_service/stub/hold", &[], "")).await });
    stub.held(1).await;
    let others = (0..50).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.send(request("GET", "/v2/echo_service/x", &[], "")).await })
    });
    for other in others.collect::<Vec<_>>() {
        assert_eq!(other.await.unwrap().unwrap().status, 200);
    }
    assert!(!held.is_finished());
    stub.release();
    assert_eq!(held.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn bodies_larger_than_every_window_pass_in_both_directions() {
    let (_stub, _registry, gateway) = echo::http1().await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let upload = request("POST", "/v2/echo_service/stub/count", &[], vec![0; 5_000_000]);
    assert_eq!(client.send(upload).await.unwrap().text(), "5000000");
    let download = client.send(request("GET", "/v2/echo_service/stub/chunks/5000", &[], "")).await.unwrap();
    assert_eq!(download.body.len(), 5_000_000);
}

#[tokio::test]
async fn the_gateways_own_answers_are_framed_for_http2() {
    let (_stub, _registry, gateway) = echo::http1().await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let answer = client.send(request("GET", "/v2/nobody_service/x", &[], "")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-vertice-reason")), (503, Some("no_endpoint")));
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, answer.body.len());
    let head = client.send(request("HEAD", "/v2/nobody_service/x", &[], "")).await.unwrap();
    assert_eq!((head.status.as_u16(), head.body.len()), (503, 0));
    let early = client.send(request("POST", "/v2/nobody_service/x", &[], vec![0; 5_000_000])).await.unwrap();
    assert_eq!(early.status, 503, "an answer before the body's end");
    let after = client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap();
    assert_eq!(after.status, 200, "the connection goes on");
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = client.send(request("GET", "/v2/echo_service/x", &many, "")).await.unwrap();
    assert_eq!(answer.status, 431);
    let grpc = request("POST", "/v2/nobody_service/x", &[("content-type", "application/grpc")], "");
    let answer = client.send(grpc).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("14")));
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream_alone() {
    let (_stub, registry, gateway) = echo::http1().await;
    let dying = Stub::start("dying").await;
    registry.put("dying_service", "dying:1", &dying.url()).await;
    gateway.routes_to("dying_service", "dying", PATIENCE).await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let half = request("GET", "/v2/dying_service/stub/half-then-hold", &[], "");
    let half = client.begin(half).await.unwrap();
    drop(dying);
    assert!(whole(half).await.is_err());
    assert_eq!(client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_grpc_answer_that_breaks_off_says_so_in_its_trailers() {
    let (_stub, registry, gateway) = echo::http1().await;
    let dying = Stub::start("dying").await;
    registry.put("dying_service", "dying:1", &dying.url()).await;
    gateway.routes_to("dying_service", "dying", PATIENCE).await;
    let mut client = Connection::open(gateway.address).await.unwrap();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let half = request("POST", "/v2/dying_service/stub/half-then-hold", &headers, "");
    let half = client.begin(half).await.unwrap();
    drop(dying);
    let (answer, trailers) = whole(half).await.unwrap();
    assert_eq!((answer.text(), &trailers["grpc-status"]), ("first".into(), &"14".parse().unwrap()));
}

#[tokio::test]
async fn sigterm_lets_streams_finish_and_says_goaway() {
    let (stub, _registry, gateway) = echo::http1().await;
    let mut idle = Connection::open(gateway.address).await.unwrap();
    assert_eq!(idle.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap().status, 200);
    let mut busy = Connection::open(gateway.address).await.unwrap();
    let held =
        tokio::spawn(async move { busy.send(request("GET", "/v2/echo_service/stub/hold", &[], "")).await });
    stub.held(1).await;
    gateway.program.signal(Signal::TERM);
    eventually(PATIENCE, "the idle connection is closed", async || idle.is_closed().then_some(())).await;
    stub.release();
    assert_eq!(held.await.unwrap().unwrap().status, 200);
    let ended = gateway.program.ended().await;
    assert!(ended.status.success(), "{ended:?}");
}

/// What the gateway sends after the preface and `frames`, again and again, until it closes.
async fn flood(address: SocketAddr, frame: &[u8]) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let burst = frame.repeat(1000);
    let mut sent = 0;
    let (mut reader, mut writer) = stream.split();
    let mut sink = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            written = writer.write_all(&burst) => match written {
                Ok(()) => sent += burst.len(),
                Err(_) => return sent,
            },
            read = reader.read(&mut sink) => if matches!(read, Ok(0) | Err(_)) { return sent },
        }
    }
}

#[tokio::test]
async fn frames_without_end_that_are_of_no_request_end_the_connection() {
    let (_stub, _registry, gateway) = echo::http1().await;
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for frame in [&ping[..], &settings] {
        let sent = timeout(PATIENCE, flood(gateway.address, frame)).await.expect("the flood is cut");
        assert!(sent < 16_000_000, "{sent}");
    }
    within(PATIENCE, "others are served", async {
        let mut client = Connection::open(gateway.address).await.unwrap();
        assert_eq!(client.send(request("GET", "/v2/echo_service/x", &[], "")).await.unwrap().status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_stream_beyond_the_limit_is_refused_and_counted() {
    let (stub, _registry, gateway) = echo::http1().await;
    let mut frames = Frames::open(gateway.address).await;
    // 128 at once, by default.
    frames.get((0..130).map(|n| n * 2 + 1), "/v2/echo_service/stub/hold").await;
    for stream in [257, 259] {
        let frame = frames.next().await.unwrap();
        assert_eq!((frame.kind, frame.stream, &frame.payload[..]), (RST_STREAM, stream, &[0, 0, 0, 7][..]));
    }
    // It is counted after it is written, and who read it may ask before.
    eventually(PATIENCE, "two are counted", async || {
        let metrics = get(gateway.admin, "/metrics").await.text();
        metrics.contains("vertice_gateway_streams_refused_total 2\n").then_some(())
    })
    .await;
    stub.held(128).await;
    stub.release();
}
