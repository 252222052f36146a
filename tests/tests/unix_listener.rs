//! Clients on the gateway's machine come in at a Unix socket: as any others over reloads, upgrades and activation, from 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use vertice_tests::http::{Answer, Connection, get, request, send};
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually, within};

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

struct Setting {
    folder: TempDir,
    registry: Registry,
    _stub: Stub,
}

impl Setting {
    async fn new() -> Self {
        let registry = Registry::start().await;
        let stub = Stub::start("stub").await;
        registry.put("stub_service", "stub:1", &stub.url()).await;
        Self { folder: TempDir::new().unwrap(), registry, _stub: stub }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("gateway.sock")
    }

    /// Writes a configuration with a TCP listener and `more`, where `SOCKET` is the Unix socket.
    fn configure(&self, more: &str) -> PathBuf {
        let file = self.folder.path().join("gateway.toml");
        let (registry, socket) = (self.registry.url(), format!("unix:{}", self.socket().display()));
        let more = more.replace("SOCKET", &socket);
        let text = format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[registry]\nurl = \"{registry}\"\n\
             [[listener]]\nname = \"tcp\"\naddress = \"127.0.0.1:0\"\n{more}"
        );
        fs::write(&file, text).unwrap();
        file
    }

    fn program(&self, more: &str, arguments: &[&str]) -> Program {
        let (file, state) = (self.configure(more), self.folder.path().join("state"));
        let (file, state) = (file.to_str().unwrap(), state.to_str().unwrap());
        let mut all = vec!["run", "--config", file, "--admin", "127.0.0.1:0", "--state-dir", state];
        all.extend(["--workers", "2"]);
        all.extend_from_slice(arguments);
        Program::start("vertice-gateway", &all, &[])
    }

    async fn start(&self, more: &str) -> Gateway {
        let gateway = Gateway::started(self.program(more, &[])).await;
        gateway.ready().await;
        gateway.routes_to("stub_service", "stub", PATIENCE).await;
        gateway
    }
}

const LISTENER: &str = "[[listener]]\nname = \"local\"\naddress = \"SOCKET\"\n";

async fn open(socket: &Path) -> Connection {
    Connection::over(UnixStream::connect(socket).await.unwrap(), NOWHERE).await.unwrap()
}

async fn ask(connection: &mut Connection, headers: &[(&str, &str)]) -> Answer {
    connection.send(request("GET", "/v2/stub_service/x", headers, "")).await.unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_client_at_the_socket_is_127_0_0_1_and_all_workers_take_part() {
    let setting = Setting::new().await;
    let gateway = setting.start(LISTENER).await;
    let socket = setting.socket();
    assert_eq!(mode(&socket), 0o660);
    let mut connections = Vec::new();
    for _ in 0..16 {
        let mut connection = open(&socket).await;
        let answer = ask(&mut connection, &[("x-forwarded-for", "192.0.2.9")]).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["stub"]), (200, &"stub".into()));
        assert!(answer.text().contains("[\"x-forwarded-for\",\"192.0.2.9, 127.0.0.1\"]"), "{answer:?}");
        connections.push(connection);
    }
    let metrics = get(gateway.admin, "/metrics").await.text();
    assert!(!metrics.contains("connections_handed_over_total 0\n"), "one worker has all: {metrics}");
    drop(connections);
    let ended = gateway.program.stop().await;
    assert!(ended.status.success() && !socket.exists(), "{ended:?}");
}

#[tokio::test]
async fn a_proxy_header_is_read_where_127_0_0_1_is_to_send_it() {
    let setting = Setting::new().await;
    let _gateway =
        setting.start(&format!("{LISTENER}proxy_protocol = [\"127.0.0.1\"]\nmode = \"0600\"\n")).await;
    assert_eq!(mode(&setting.socket()), 0o600);
    let mut stream = UnixStream::connect(setting.socket()).await.unwrap();
    let said = b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\nGET /v2/stub_service/x HTTP/1.1\r\nhost: a\r\n\
        connection: close\r\n\r\n";
    stream.write_all(said).await.unwrap();
    let mut came = Vec::new();
    within(PATIENCE, "the answer", stream.read_to_end(&mut came)).await.unwrap();
    let came = String::from_utf8_lossy(&came);
    assert!(came.contains("[\"x-forwarded-for\",\"192.0.2.7\"]"), "{came}");
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_what_lives_or_is_none_is_an_error_that_says_so() {
    let setting = Setting::new().await;
    let socket = setting.socket();
    let killed = setting.start(LISTENER).await;
    let at = format!("unix:{}", socket.display());
    let registry = setting.registry.url();
    let second = ["run", "--listen", &at, "--admin", "127.0.0.1:0", "--registry", &registry];
    let ended = Program::run("vertice-gateway", &second, &[]).await;
    let says = format!("{at} is taken: stop the process that listens there or choose another path");
    assert!(ended.status.code() == Some(1) && ended.text.contains(&says), "{ended:?}");
    assert_eq!(ask(&mut open(&socket).await, &[]).await.status, 200);

    killed.program.kill().await;
    assert!(socket.exists(), "nobody was left to remove it");
    let after = setting.start(LISTENER).await;
    assert_eq!(ask(&mut open(&socket).await, &[]).await.status, 200);
    assert!(after.program.stop().await.status.success());

    fs::write(&socket, "precious").unwrap();
    let ended = Program::run("vertice-gateway", &second, &[]).await;
    assert!(ended.status.code() == Some(1) && ended.text.contains("is no socket"), "{ended:?}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn a_reload_adds_it_changes_its_mode_and_takes_it_out() {
    let setting = Setting::new().await;
    let gateway = setting.start("").await;
    let socket = setting.socket();
    let reload = async |more: &str| {
        setting.configure(more);
        let answer = send(gateway.admin, request("POST", "/config/reload", &[], "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    reload(LISTENER).await;
    let mut kept = open(&socket).await;
    assert_eq!(ask(&mut kept, &[]).await.status, 200);
    reload(&format!("{LISTENER}mode = \"0666\"\n")).await;
    assert_eq!(mode(&socket), 0o666);
    assert_eq!(ask(&mut kept, &[]).await.status, 200);
    reload("").await;
    assert!(!socket.exists());
    let last = ask(&mut kept, &[]).await;
    assert_eq!((last.status.as_u16(), last.header("connection")), (200, Some("close")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_hands_it_over_and_no_connection_is_lost() {
    let setting = Setting::new().await;
    let mut gateway = setting.start(LISTENER).await;
    let socket = setting.socket();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let connecting = tokio::spawn({
        let socket = socket.clone();
        async move {
            let mut answers = 0;
            while !*stopped.borrow() {
                assert_eq!(ask(&mut open(&socket).await, &[]).await.status, 200);
                answers += 1;
            }
            answers
        }
    });
    for _ in 0..2 {
        let after = Gateway::started(setting.program(LISTENER, &["--upgrade"])).await;
        let ended = gateway.program.ended().await;
        assert!(ended.status.success() && ended.text.contains("another process has taken over"), "{ended:?}");
        assert_eq!(ask(&mut open(&socket).await, &[]).await.status, 200);
        gateway = after;
    }
    stop.send_replace(true);
    assert!(connecting.await.unwrap() > 10);
    assert!(gateway.program.stop().await.status.success());
    assert!(!socket.exists(), "the last one removes it");
}

#[tokio::test]
async fn one_of_the_service_manager_is_taken_and_its_file_stays() {
    let setting = Setting::new().await;
    let theirs = setting.folder.path().join("theirs.sock");
    let held = UnixListener::bind(&theirs).unwrap();
    let before = mode(&theirs);
    let file = setting.configure(LISTENER);
    let arguments = ["run", "--config", file.to_str().unwrap(), "--admin", "127.0.0.1:0", "--workers", "2"];
    let activated =
        |name: &str| Program::start_activated("vertice-gateway", &arguments, held.try_clone().unwrap(), name);
    let gateway = Gateway::started(activated("local")).await;
    eventually(PATIENCE, "the answer comes from the service", async || {
        (ask(&mut open(&theirs).await, &[]).await.status == 200).then_some(())
    })
    .await;
    assert!(!setting.socket().exists());
    assert!(gateway.program.stop().await.status.success());
    assert_eq!(mode(&theirs), before, "it is there, and as it was");
    // By its name alone no listener of the other family gets it.
    let ended = activated("tcp").ended().await;
    assert!(ended.status.code() == Some(1) && ended.text.contains("that no listener has"), "{ended:?}");
}
