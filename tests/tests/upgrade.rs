//! Another process takes over the listening sockets: nobody who connects is refused or reset, and what goes wrong before it
//! is ready changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::http::{Connection, get, request};
use vertice_tests::load::Load;
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually, within};

/// Not our child: ended by its number, which the program has told.
struct Grandchild(rustix::process::Pid);

impl Drop for Grandchild {
    fn drop(&mut self) {
        rustix::process::kill_process(self.0, Signal::TERM).unwrap();
    }
}

struct Setting {
    folder: TempDir,
    registry: Registry,
    stub: Stub,
}

impl Setting {
    async fn new() -> Self {
        let registry = Registry::start().await;
        let stub = Stub::start("stub").await;
        registry.put("stub_service", "stub:1", &stub.url()).await;
        Self { folder: TempDir::new().unwrap(), registry, stub }
    }

    fn arguments(&self, workers: &str, more: &[&str]) -> Vec<String> {
        let registry = self.registry.url();
        let state = self.folder.path().to_str().unwrap();
        let mut all = vec!["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--registry", &registry];
        all.extend(["--state-dir", state, "--workers", workers]);
        all.extend_from_slice(more);
        all.into_iter().map(str::to_owned).collect()
    }

    fn program(&self, workers: &str, more: &[&str]) -> Program {
        let mut all = vec!["run".to_owned()];
        all.extend(self.arguments(workers, more));
        Program::start("vertice-gateway", &all.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }

    async fn start(&self) -> Gateway {
        let gateway = Gateway::started(self.program("2", &[])).await;
        gateway.ready().await;
        gateway.routes_to("stub_service", "stub", PATIENCE).await;
        gateway
    }

    /// Starts one that takes over from `before`, which ends by itself.
    async fn upgrade(&self, before: Gateway, workers: &str) -> Gateway {
        let after = Gateway::started(self.program(workers, &["--upgrade"])).await;
        assert_eq!((after.address, after.admin), (before.address, before.admin));
        let ended = before.program.ended().await;
        assert!(ended.status.success() && ended.text.contains("another process has taken over"), "{ended:?}");
        after
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_and_no_connection_is_lost_over_three_upgrades() {
    let setting = Setting::new().await;
    let mut gateway = setting.start().await;
    let kept = Load::start(gateway.address, "/v2/stub_service/x", 6);
    let connecting = Load::start_connecting(gateway.address, "/v2/stub_service/x", 4);
    // More workers than sockets, and fewer.
    for workers in ["2", "3", "1"] {
        kept.goes_on(100).await;
        connecting.goes_on(100).await;
        gateway = setting.upgrade(gateway, workers).await;
    }
    kept.goes_on(100).await;
    connecting.goes_on(100).await;
    kept.stop().await.assert_none_failed();
    connecting.stop().await.assert_none_failed();
    let ended = gateway.program.stop().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(!setting.folder.path().join("upgrade.sock").exists());
}

#[tokio::test]
async fn a_stream_goes_on_in_the_process_that_it_began_in() {
    let setting = Setting::new().await;
    let before = setting.start().await;
    let mut stream = TcpStream::connect(before.address).await.unwrap();
    stream.write_all(b"GET /v2/stub_service/stub/half-then-hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut came = Vec::new();
    within(PATIENCE, "the first half", async {
        while !came.ends_with(b"first\r\n") {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0);
        }
    })
    .await;
    let mut idle = Connection::open(before.address).await.unwrap();
    assert_eq!(idle.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);

    let mut after = Gateway::started(setting.program("2", &["--upgrade"])).await;
    after.program.line("that it has taken over", |line| line.contains("taken over").then_some(())).await;
    assert_eq!(after.get("/v2/stub_service/x").await.status, 200);
    // The idle one gets one more answer from the process before.
    let last = idle.send(request("GET", "/health", &[], "")).await.unwrap();
    assert_eq!((last.status.as_u16(), last.header("connection")), (200, Some("close")));
    setting.stub.release();
    within(PATIENCE, "the second half", async {
        while !came.ends_with(b"second\r\n0\r\n\r\n") {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0, "{}", String::from_utf8_lossy(&came));
        }
    })
    .await;
    drop(stream);
    assert!(before.program.ended().await.status.success());
}

#[tokio::test]
async fn a_new_process_that_fails_changes_nothing() {
    let setting = Setting::new().await;
    let before = setting.start().await;
    let load = Load::start(before.address, "/v2/stub_service/x", 4);
    // It cannot even start.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _there = std::net::TcpListener::bind(taken).unwrap();
    let ended = setting.program("2", &["--upgrade", "--config", "/nonexistent"]).ended().await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");

    // It starts, and is killed before it is ready: its registry is not there, and neither is what is known of it.
    let state = setting.folder.path().join("other");
    let arguments = [
        "run",
        "--upgrade",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--registry",
        "http://127.0.0.1:9",
        "--state-dir",
        state.to_str().unwrap(),
        "--upgrade-socket",
        setting.folder.path().join("upgrade.sock").to_str().unwrap(),
    ]
    .map(str::to_owned);
    let stuck =
        Program::start("vertice-gateway", &arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    eventually(PATIENCE, "the hand-over has begun", async || {
        before.program.text().contains("takes the listening sockets").then_some(())
    })
    .await;
    // Nothing else may change meanwhile.
    let second = setting.program("2", &["--upgrade"]).ended().await;
    assert!(second.text.contains("taking over already") && second.status.code() == Some(1), "{second:?}");
    stuck.kill().await;
    eventually(PATIENCE, "it is told", async || {
        before.program.text().contains("did not take over").then_some(())
    })
    .await;
    assert_eq!(get(before.admin, "/ready").await.status, 200);
    load.goes_on(100).await;
    // And the next one works.
    let after = setting.upgrade(before, "2").await;
    load.goes_on(100).await;
    load.stop().await.assert_none_failed();
    assert_eq!(get(after.admin, "/ready").await.status, 200);
}

#[tokio::test]
async fn without_a_running_gateway_or_with_one_that_holds_a_registry_it_is_refused() {
    let setting = Setting::new().await;
    let ended = setting.program("2", &["--upgrade"]).ended().await;
    assert!(ended.text.contains("no running gateway at") && ended.status.code() == Some(1), "{ended:?}");

    let socket = setting.folder.path().join("embedded.sock");
    let arguments = |more: &[&str]| {
        let mut all = vec!["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        all.extend(["--embedded-registry", "127.0.0.1:0", "--upgrade-socket", socket.to_str().unwrap()]);
        all.extend_from_slice(more);
        Program::start("vertice-gateway", &all, &[])
    };
    let running = Gateway::started(arguments(&[])).await;
    let ended = arguments(&["--upgrade"]).ended().await;
    assert!(ended.text.contains("its embedded registry would be lost"), "{ended:?}");
    assert_eq!(running.get("/health").await.status, 200);
}

#[tokio::test]
async fn the_command_starts_a_process_that_takes_over() {
    let setting = Setting::new().await;
    let before = setting.start().await;
    let mut all = vec!["upgrade".to_owned()];
    all.extend(setting.arguments("2", &[]));
    let mut command =
        Program::start("vertice-gateway", &all.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let process: i32 = command
        .line("who has taken over", |line| {
            line.strip_prefix("process ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
                .filter(|_| line.contains("has taken over"))
        })
        .await;
    let grandchild = Grandchild(rustix::process::Pid::from_raw(process).unwrap());
    let (address, admin) = (before.address, before.admin);
    assert!(before.program.ended().await.status.success());
    assert_eq!(get(address, "/v2/stub_service/x").await.status, 200);
    assert_eq!(get(admin, "/ready").await.status, 200);
    drop(grandchild);
    eventually(PATIENCE, "it has ended", async || TcpStream::connect(address).await.is_err().then_some(()))
        .await;
}

#[tokio::test]
async fn a_socket_of_the_service_manager_is_taken_by_its_name_and_shared_by_all_workers() {
    let setting = Setting::new().await;
    let file = setting.folder.path().join("gateway.toml");
    let configured = |name: &str| {
        let registry = setting.registry.url();
        let text = format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"0.0.0.0:8000\"\n[registry]\nurl = \"{registry}\"\n"
        );
        fs::write(&file, text).unwrap();
    };
    configured("public");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let arguments = ["run", "--config", file.to_str().unwrap(), "--admin", "127.0.0.1:0", "--workers", "2"];
    let activated =
        |name| Program::start_activated("vertice-gateway", &arguments, socket.try_clone().unwrap(), name);
    // Connected before there is a process: it waits in the queue.
    let mut early = TcpStream::connect(address).await.unwrap();
    early.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let gateway = Gateway::started(activated("public")).await;
    assert_eq!(gateway.address, address);
    let mut came = Vec::new();
    within(PATIENCE, "the answer", early.read_to_end(&mut came)).await.unwrap();
    assert!(came.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&came));
    let mut open = Vec::new();
    for _ in 0..16 {
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
        open.push(connection);
    }
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(!metrics.contains("connections_handed_over_total 0\n"), "one worker has all: {metrics}");
    drop(open);
    assert!(gateway.program.stop().await.status.success());

    // A socket that nobody serves is a mistake.
    configured("other");
    let ended = activated("nobody").ended().await;
    assert!(ended.text.contains("nobody") && ended.status.code() == Some(1), "{ended:?}");
}
