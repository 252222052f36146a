//! Each listener has its own limits and deadlines over the general ones; a route's own win over them, and a reload changes them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::frames::{Frames, HEADERS, RST_STREAM};
use vertice_tests::http::{Connection, get, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, within};

/// The general limits are loose, those of the first listener tight.
const LISTENERS: &str = r#"
[[listener]]
name = "tight"
address = "127.0.0.1:0"
timeouts = { first_byte = "300ms", idle = "300ms" }

[listener.limits]
header_bytes = "8KiB"
header_count = 10
target_bytes = 256
body_bytes = 100
connections_per_address = 4
connection_requests = 2
head_timeout = "300ms"
keep_alive = "300ms"
streams = 1

[[listener]]
name = "loose"
address = "127.0.0.1:0"

[limits]
body_bytes = 1000
"#;

const ROUTES: &str = r#"
[[route]]
name = "own"
prefix = "/own"
service = "core_service"
body_bytes = 500
timeouts = { first_byte = "1m", idle = "1m" }
"#;

struct System {
    stub: Stub,
    registry: Registry,
    _folder: TempDir,
    file: PathBuf,
    gateway: Gateway,
    tight: SocketAddr,
    loose: SocketAddr,
}

impl System {
    async fn start() -> Self {
        let (stub, registry) = (Stub::start("core").await, Registry::start().await);
        registry.put("core_service", "core:1", &stub.url()).await;
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("gateway.toml");
        write(&file, LISTENERS, &registry);
        let mut gateway = Gateway::start_configured(&file, &[]).await;
        gateway.routes_to("core_service", "core", PATIENCE).await;
        let (tight, loose) = (gateway.listener("tight").await, gateway.listener("loose").await);
        Self { stub, registry, _folder: folder, file, gateway, tight, loose }
    }
}

fn write(file: &std::path::Path, listeners: &str, registry: &Registry) {
    let text = format!("{listeners}\n[registry]\nurl = \"{}\"\n{ROUTES}", registry.url());
    std::fs::write(file, text).unwrap();
}

async fn status_of(at: SocketAddr, target: &str, body: usize) -> u16 {
    send(at, request("POST", target, &[], vec![b'x'; body])).await.status.as_u16()
}

#[tokio::test]
async fn sizes_are_those_of_the_listener_and_a_route_wins() {
    let system = System::start().await;
    let (tight, loose) = (system.tight, system.loose);
    for (at, target, bytes, status) in [
        (tight, "/v2/core_service/x", 100, 200),
        (tight, "/v2/core_service/x", 101, 413),
        (tight, "/own/x", 500, 200),
        (tight, "/own/x", 501, 413),
        (loose, "/v2/core_service/x", 1000, 200),
        (loose, "/v2/core_service/x", 1001, 413),
        (loose, "/own/x", 501, 413),
    ] {
        assert_eq!(status_of(at, target, bytes).await, status, "{at} {target} {bytes}");
    }
    let long = format!("/v2/core_service/{}", "x".repeat(300));
    assert_eq!([get(tight, &long).await.status, get(loose, &long).await.status], [414, 200]);
    let many: Vec<(String, String)> = (0..20).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let large = "x".repeat(10_000);
    for headers in [many.as_slice(), &[("x-large", large.as_str())]] {
        let asked = async |at| send(at, request("GET", "/v2/core_service/x", headers, "")).await.status;
        assert_eq!([asked(tight).await, asked(loose).await], [431, 200], "{} fields", headers.len());
    }
}

#[tokio::test]
async fn deadlines_are_those_of_the_listener_and_a_route_wins() {
    let system = System::start().await;
    let held = "/v2/core_service/stub/hold";
    assert_eq!(get(system.tight, held).await.status, 504);
    let waiting = [(system.loose, held), (system.tight, "/own/stub/hold")]
        .map(|(at, target)| tokio::spawn(async move { get(at, target).await.status }));
    // Both have begun, and the tight listener's deadline has come once more, before the service answers.
    assert_eq!(get(system.tight, held).await.status, 504);
    system.stub.release();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
    // Half a head, and a connection that is kept for nothing: cut at one, still there at the other.
    for begin in ["GET /health HTTP/1.1\r\nhost: ", "GET /health HTTP/1.1\r\nhost: g\r\n\r\n"] {
        let mut open = Vec::new();
        for at in [system.tight, system.loose] {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            open.push(stream);
        }
        let mut came = Vec::new();
        within(PATIENCE, "the tight one is cut", open[0].read_to_end(&mut came)).await.unwrap();
        open[1]
            .write_all(b"g\r\n\r\nGET /health HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut came = Vec::new();
        within(PATIENCE, "the loose one answers", open[1].read_to_end(&mut came)).await.unwrap();
        assert!(came.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&came));
    }
}

#[tokio::test]
async fn numbers_of_connections_and_requests_are_those_of_the_listener() {
    let system = System::start().await;
    for (at, closes) in [(system.tight, true), (system.loose, false)] {
        let mut connection = Connection::open(at).await.unwrap();
        connection.send(request("GET", "/health", &[], "")).await.unwrap();
        let second = connection.send(request("GET", "/health", &[], "")).await.unwrap();
        assert_eq!(second.headers.get("connection").is_some_and(|v| v == "close"), closes, "{at}");
    }
    let mut open = Vec::new();
    for (at, refused) in [(system.loose, false), (system.tight, true)] {
        let mut last = false;
        for _ in 0..5 {
            let stream = TcpStream::connect(at).await.unwrap();
            // A connection too many is closed before it has said anything; what is kept answers.
            let mut connection = Connection::over(stream, at).await.unwrap();
            last = connection.send(request("GET", "/health", &[], "")).await.is_err();
            open.push(connection);
        }
        assert_eq!(last, refused, "{at}");
    }
    drop(open);
    let mut loose = Frames::open(system.loose).await;
    loose.get([1, 3], "/v2/core_service/stub/hold").await;
    system.stub.held(2).await;
    let mut tight = Frames::open(system.tight).await;
    tight.get([1, 3], "/v2/core_service/stub/hold").await;
    let frame = tight.next().await.unwrap();
    assert_eq!((frame.kind, frame.stream, &frame.payload[..]), (RST_STREAM, 3, &[0, 0, 0, 7][..]));
    system.stub.release();
    assert_eq!(loose.next().await.unwrap().kind, HEADERS);
}

#[tokio::test]
async fn a_reload_changes_them_on_open_connections_and_a_mistake_changes_nothing() {
    let system = System::start().await;
    let System { gateway, tight, loose, .. } = &system;
    let mut kept = Connection::open(*loose).await.unwrap();
    let asked = request("POST", "/v2/core_service/x", &[], vec![b'x'; 1000]);
    assert_eq!(kept.send(asked.clone()).await.unwrap().status, 200);
    let reload = async || send(gateway.admin, request("POST", "/config/reload", &[], "")).await;
    let changed = LISTENERS.replace("name = \"loose\"", "name = \"loose\"\nlimits = { body_bytes = 999 }");
    write(&system.file, &changed.replace("streams = 1", "streams = 0"), &system.registry);
    let answer = reload().await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text().contains("`listener.limits.streams` is 0"), "{answer:?}");
    assert_eq!(kept.send(asked.clone()).await.unwrap().status, 200);
    write(&system.file, &changed, &system.registry);
    assert_eq!(reload().await.status, 200);
    assert_eq!(kept.send(asked).await.unwrap().status, 413, "from the next request on");
    assert_eq!(status_of(*tight, "/v2/core_service/x", 101).await, 413);

    let shown = get(gateway.admin, "/config").await.json();
    let limit = |n: usize| shown["config"]["listeners"][n]["rules"]["limits"]["body_bytes"].clone();
    assert_eq!([limit(0), limit(1)], [Value::from(100), Value::from(999)], "{shown}");
    let explained = get(gateway.admin, "/explain?target=http://g/own/x").await.json();
    let tight = &explained["limits"][0];
    assert_eq!((&tight["listener"], &tight["body_bytes"]), (&"tight".into(), &500.into()), "{explained}");
    assert_eq!(tight["timeouts"]["first_byte"], "60s", "{explained}");
    let explained = get(gateway.admin, "/explain?target=http://g/v2/core_service/x").await.json();
    let [tight, loose] = [0, 1].map(|n| explained["limits"][n]["timeouts"]["first_byte"].clone());
    assert_eq!((tight, loose), ("300ms".into(), "60s".into()), "{explained}");
}
