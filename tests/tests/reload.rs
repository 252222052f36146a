//! The configuration is read again while requests are served: all of it or nothing, and no request notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vertice_tests::http::{Answer, Connection, get, request, send};
use vertice_tests::load::Load;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::wait::{PATIENCE, eventually, within};

/// A gateway with a configuration file, in front of one stub that it knows from the file alone.
struct Setting {
    _folder: TempDir,
    _registry: Registry,
    file: PathBuf,
    registry_url: String,
    stub: Stub,
}

impl Setting {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start().await;
        let file = folder.path().join("gateway.toml");
        let registry_url = registry.url();
        Self { _folder: folder, _registry: registry, file, registry_url, stub: Stub::start("stub").await }
    }

    /// Writes the file as operators should: all at once.
    fn write(&self, more: &str) {
        self.write_with("[[listener]]\naddress = \"127.0.0.1:0\"\nname = \"first\"\n", more);
    }

    fn write_with(&self, listeners: &str, more: &str) {
        let (registry, stub) = (&self.registry_url, self.stub.url());
        let text = format!(
            "workers = 2\n{more}\n{listeners}\n[registry]\nurl = \"{registry}\"\n\
             [[service]]\nname = \"stub_service\"\nfallback = [\"{stub}\"]\n"
        );
        let new = self.file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    async fn start(&self) -> Gateway {
        Gateway::start_configured(&self.file, &[]).await
    }
}

async fn reload(gateway: &Gateway) -> Answer {
    send(gateway.admin, request("POST", "/config/reload", &[], "")).await
}

async fn applied(gateway: &Gateway) -> u64 {
    let answer = reload(gateway).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (200, &"applied".into()), "{answer:?}");
    answer.json()["generation"].as_u64().unwrap()
}

async fn config(gateway: &Gateway) -> Value {
    get(gateway.admin, "/config").await.json()
}

const ROUTE: &str =
    "reason_header = true\n[[route]]\nname = \"extra\"\nprefix = \"/extra\"\nservice = \"stub_service\"\n";

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_with_line_and_column() {
    let setting = Setting::new().await;
    setting.write(ROUTE);
    let gateway = setting.start().await;
    assert_eq!(gateway.get("/extra/x").await.status, 200);

    setting.write("trusted_proxies = [\"10.0.0.0/8\"]\ncolour = \"blue\"");
    let answer = reload(&gateway).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (422, &"invalid".into()), "{answer:?}");
    let place = format!("{}:3:1: `colour`", setting.file.display());
    assert!(answer.json()["errors"][0].as_str().unwrap().starts_with(&place), "{answer:?}");
    assert_eq!(gateway.get("/extra/x").await.status, 200);
    let shown = config(&gateway).await;
    assert_eq!((&shown["generation"], &shown["last_reload"]["outcome"]), (&1.into(), &"invalid".into()));
    assert!(shown["last_reload"]["errors"][0].as_str().unwrap().starts_with(&place), "{shown}");
    assert_eq!(shown["config"]["trusted_proxies"], serde_json::json!([]));
    let status = gateway.get("/gateway/status").await.json();
    assert_eq!(status["configuration"]["last_reload_failed"], true, "{status}");
    let metrics = get(gateway.admin, "/metrics").await.text();
    for line in [
        "vertice_gateway_config_generation 1.0\n",
        "vertice_gateway_config_last_reload_failed 1.0\n",
        "vertice_gateway_config_reloads_total{outcome=\"invalid\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line:?} in {metrics}");
    }
    assert!(gateway.program.text().contains(&place), "{}", gateway.program.text());

    // Repaired, and asked for by a signal: without the route.
    setting.write("");
    gateway.program.signal(Signal::HUP);
    eventually(PATIENCE, "the repaired file runs", async || {
        (gateway.get("/extra/x").await.status == 404).then_some(())
    })
    .await;
    let shown = config(&gateway).await;
    assert_eq!((&shown["generation"], &shown["applied_by"]), (&2.into(), &"signal".into()), "{shown}");
    assert!(get(gateway.admin, "/metrics").await.text().contains("config_last_reload_failed 0.0\n"));
}

#[tokio::test]
async fn what_needs_a_new_process_is_refused_and_nothing_of_it_is_applied() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    setting.write(&format!("state_dir = \"/nonexistent\"\n{ROUTE}"));
    let answer = reload(&gateway).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (409, &"needs_restart".into()));
    let error = answer.json()["errors"][0].as_str().unwrap().to_owned();
    assert!(error.starts_with("state_dir has changed") && error.contains("upgrade in place"), "{error}");
    assert_eq!(gateway.get("/extra/x").await.status, 404);
}

#[tokio::test]
async fn an_address_that_is_taken_refuses_the_whole_configuration() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    setting.write_with(&format!("[[listener]]\naddress = \"127.0.0.1:0\"\nname = \"first\"\n{more}"), ROUTE);
    let answer = reload(&gateway).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (409, &"failed".into()), "{answer:?}");
    assert!(answer.json()["errors"][0].as_str().unwrap().contains("is taken"), "{answer:?}");
    assert_eq!(gateway.get("/extra/x").await.status, 404);
    assert_eq!(gateway.get("/v2/stub_service/x").await.status, 200);
}

#[tokio::test]
async fn a_file_that_changes_is_applied_by_itself_and_one_that_breaks_is_not() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    setting.write(ROUTE);
    eventually(PATIENCE, "the new file runs", async || {
        (gateway.get("/extra/x").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(config(&gateway).await["applied_by"], "file");
    // Half a file, written in place by somebody who then died.
    let text = fs::read_to_string(&setting.file).unwrap();
    fs::write(&setting.file, &text[..text.len() - 3]).unwrap();
    eventually(PATIENCE, "the broken file was seen", async || {
        (config(&gateway).await["last_reload"]["outcome"] == "invalid").then_some(())
    })
    .await;
    fs::remove_file(&setting.file).unwrap();
    assert_eq!(gateway.get("/extra/x").await.status, 200);
    setting.write("");
    eventually(PATIENCE, "the repaired file runs", async || {
        (gateway.get("/extra/x").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_that_comes_from_a_page_in_a_browser_is_not_made() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    for headers in [("origin", "http://evil.example"), ("host", "evil.example")] {
        let answer = send(gateway.admin, request("POST", "/config/reload", &[headers], "")).await;
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    assert_eq!(get(gateway.admin, "/config/reload").await.status, 405);
    assert_eq!(config(&gateway).await["last_reload"], Value::Null);
}

#[tokio::test]
async fn a_stream_that_began_before_goes_on_under_what_it_began_with() {
    let setting = Setting::new().await;
    setting.write(ROUTE);
    let gateway = setting.start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET /extra/stub/half-then-hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut came = Vec::new();
    within(PATIENCE, "the first half", async {
        while !came.ends_with(b"first\r\n") {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0);
        }
    })
    .await;
    // The route and its service go away, and so does the patience for idle bodies.
    for more in ["", "[timeouts]\nidle = \"1ms\"", ""] {
        setting.write(more);
        applied(&gateway).await;
    }
    assert_eq!(gateway.get("/extra/x").await.status, 404);
    setting.stub.release();
    within(PATIENCE, "the second half", async {
        while !came.ends_with(b"second\r\n0\r\n\r\n") {
            assert!(stream.read_buf(&mut came).await.unwrap() > 0, "{}", String::from_utf8_lossy(&came));
        }
    })
    .await;
    // And the connection is a usual one afterwards.
    came.clear();
    stream.write_all(b"GET /extra/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    within(PATIENCE, "the next answer", stream.read_to_end(&mut came)).await.unwrap();
    assert!(came.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&came));
}

#[tokio::test]
async fn an_open_connection_has_the_new_rules_from_its_next_request_on() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    let mut connection = Connection::open(gateway.address).await.unwrap();
    let long = format!("/v2/stub_service/{}", "x".repeat(2000));
    let headers = [("x-forwarded-for", "192.0.2.7")];
    let answer = connection.send(request("GET", &long, &headers, "")).await.unwrap();
    assert_eq!(answer.status, 200);

    let log = setting.file.with_file_name("access.log");
    setting.write(&format!(
        "reason_header = false\n[limits]\ntarget_bytes = 1024\n[access_log]\nfile = {log:?}\n[health]\nactive = false\n"
    ));
    applied(&gateway).await;
    let answer = connection.send(request("GET", &long, &headers, "")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-vertice-reason")), (414, None));
    eventually(PATIENCE, "the line in the new log", async || {
        fs::read_to_string(&log).unwrap_or_default().contains("\"status\":414").then_some(())
    })
    .await;

    // Moved away, as logs are; whoever asks for a reload gets a new one.
    fs::rename(&log, log.with_extension("1")).unwrap();
    applied(&gateway).await;
    assert_eq!(connection.send(request("GET", "/health", &[], "")).await.unwrap().status, 200);
    eventually(PATIENCE, "the line in the log that was opened anew", async || {
        fs::read_to_string(&log).unwrap_or_default().contains("/health").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_listener_that_is_taken_out_drains_and_a_new_one_takes_connections() {
    let setting = Setting::new().await;
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (goes, comes): (SocketAddr, SocketAddr) = (free(), free());
    let section = |name: &str, at| format!("[[listener]]\naddress = \"{at}\"\nname = \"{name}\"\n");
    let stays = "[[listener]]\naddress = \"127.0.0.1:0\"\nname = \"stays\"\n";
    setting.write_with(&format!("{stays}{}", section("goes", goes)), "");
    let gateway = setting.start().await;
    let mut idle = Connection::open(goes).await.unwrap();
    assert_eq!(idle.send(request("GET", "/v2/stub_service/x", &[], "")).await.unwrap().status, 200);
    let fresh = TcpStream::connect(goes).await.unwrap();
    let held = tokio::spawn(async move { get(goes, "/v2/stub_service/stub/hold").await });
    setting.stub.held(1).await;

    setting.write_with(&format!("{stays}{}", section("comes", comes)), "");
    applied(&gateway).await;
    eventually(PATIENCE, "nothing new is taken there", async || {
        TcpStream::connect(goes).await.is_err().then_some(())
    })
    .await;
    assert_eq!(get(comes, "/v2/stub_service/x").await.status, 200);
    // Who was connected is answered once more, and told that it was the last time.
    let last = idle.send(request("GET", "/v2/stub_service/x", &[], "")).await.unwrap();
    assert_eq!((last.status.as_u16(), last.header("connection")), (200, Some("close")));
    let mut fresh = fresh;
    fresh.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut came = Vec::new();
    within(PATIENCE, "the end of the last answer", fresh.read_to_end(&mut came)).await.unwrap();
    assert!(came.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&came));
    assert!(!held.is_finished());
    setting.stub.release();
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_configuration_is_applied_again_and_again() {
    let setting = Setting::new().await;
    setting.write("");
    let gateway = setting.start().await;
    let load = Load::start(gateway.address, "/v2/stub_service/x", 8);
    for round in 0..30_u64 {
        setting.write(if round % 2 == 0 { ROUTE } else { "" });
        assert_eq!(applied(&gateway).await, round + 2);
        load.goes_on(30).await;
    }
    load.stop().await.assert_none_failed();
}
