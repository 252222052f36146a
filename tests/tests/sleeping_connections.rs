//! A connection that waits for its next request sleeps, without buffers; nothing of what comes then is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::http::get;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually, within};

const ECHO: &str = "GET /v2/core_service/stub/count HTTP/1.1\r\nhost: g\r\n\r\n";

async fn system(config: &str) -> (Stub, Registry, Gateway) {
    let (stub, registry) = (Stub::start("core").await, Registry::start().await);
    registry.put("core_service", "core:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    gateway.routes_to("core_service", "core", PATIENCE).await;
    (stub, registry, gateway)
}

async fn asleep(gateway: &Gateway, count: u32) {
    let line = format!("vertice_gateway_connections_asleep {count}.0\n");
    eventually(PATIENCE, &line, async || {
        get(gateway.admin, "/metrics").await.text().contains(&line).then_some(())
    })
    .await;
}

/// Reads until `text` has come `times` times.
async fn reads(stream: &mut TcpStream, text: &str, times: usize) -> String {
    let mut came = Vec::new();
    within(PATIENCE, text, async {
        while String::from_utf8_lossy(&came).matches(text).count() < times {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0, "{}", String::from_utf8_lossy(&came));
        }
    })
    .await;
    String::from_utf8(came).unwrap()
}

#[tokio::test]
async fn it_wakes_up_for_whatever_comes_in_whatever_pieces() {
    let (_stub, _registry, gateway) = system("").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(ECHO.as_bytes()).await.unwrap();
    reads(&mut stream, "\r\n\r\n0", 1).await;
    asleep(&gateway, 1).await;
    // One byte, and the rest once that one was taken.
    stream.write_all(&ECHO.as_bytes()[..1]).await.unwrap();
    asleep(&gateway, 0).await;
    stream.write_all(&ECHO.as_bytes()[1..]).await.unwrap();
    reads(&mut stream, "\r\n\r\n0", 1).await;
    asleep(&gateway, 1).await;
    // Two and a half requests at once, and the other half later: it does not sleep over half a head.
    let head = "POST /v2/core_service/stub/count HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n";
    stream.write_all(format!("{ECHO}{ECHO}{}", &head[..20]).as_bytes()).await.unwrap();
    reads(&mut stream, "\r\n\r\n0", 2).await;
    asleep(&gateway, 0).await;
    stream.write_all(&head.as_bytes()[20..]).await.unwrap();
    stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    reads(&mut stream, "\r\n\r\n100000", 1).await;
    asleep(&gateway, 1).await;
    drop(stream);
    asleep(&gateway, 0).await;
}

#[tokio::test]
async fn it_is_cut_at_its_deadline_and_has_one_more_request_when_the_gateway_stops() {
    let (_stub, _registry, gateway) = system("[limits]\nkeep_alive = \"4s\"\n").await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(ECHO.as_bytes()).await.unwrap();
        reads(&mut stream, "\r\n\r\n0", 1).await;
        open.push(stream);
    }
    asleep(&gateway, 2).await;
    let [first, second] = open.as_mut_slice() else { panic!() };
    // The second one asks on, so that only the first one's time is over.
    within(Duration::from_secs(10), "the first is cut", async {
        let mut came = [0; 1];
        while tokio::time::timeout(Duration::from_secs(1), first.read(&mut came)).await.is_err() {
            second.write_all(ECHO.as_bytes()).await.unwrap();
            reads(second, "\r\n\r\n0", 1).await;
        }
    })
    .await;
    asleep(&gateway, 1).await;
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(metrics.contains("vertice_gateway_connections_timed_out_total 1\n"), "{metrics}");
    gateway.program.signal(Signal::TERM);
    second.write_all(ECHO.as_bytes()).await.unwrap();
    let last = reads(second, "\r\n\r\n0", 1).await;
    assert!(last.starts_with("HTTP/1.1 200 "), "{last}");
    assert_eq!(within(PATIENCE, "the end", second.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn half_a_pipelined_head_is_not_lost_over_the_sleep_and_has_the_deadline_of_a_head() {
    let (stub, registry) = (Stub::start("core").await, Registry::start().await);
    registry.put("core_service", "core:1", &stub.url()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = format!(
        "[[listener]]\nname = \"hasty\"\naddress = \"127.0.0.1:0\"\nlimits = {{ head_timeout = \"300ms\" }}\n\
         [[listener]]\nname = \"patient\"\naddress = \"127.0.0.1:0\"\n[registry]\nurl = \"{}\"\n",
        registry.url()
    );
    std::fs::write(file.path(), config).unwrap();
    let mut gateway = Gateway::start_configured(file.path(), &[]).await;
    gateway.routes_to("core_service", "core", PATIENCE).await;
    let mut open = Vec::new();
    for listener in ["patient", "hasty"] {
        let mut stream = TcpStream::connect(gateway.listener(listener).await).await.unwrap();
        stream.write_all(format!("{ECHO}{}", &ECHO[..20]).as_bytes()).await.unwrap();
        reads(&mut stream, "\r\n\r\n0", 1).await;
        open.push(stream);
    }
    let [patient, hasty] = open.as_mut_slice() else { panic!() };
    // Only a connection that has slept over it has the deadline of a head, and the other one is older.
    assert_eq!(within(PATIENCE, "half a head is cut", hasty.read(&mut [0; 1])).await.unwrap(), 0);
    patient.write_all(&ECHO.as_bytes()[20..]).await.unwrap();
    reads(patient, "\r\n\r\n0", 1).await;
}
