//! The gateway is restarted while the registry is away: it serves from what it kept on disk, and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use vertice_tests::http::get;
use vertice_tests::process::Program;
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry, TOKEN};
use vertice_tests::wait::{PATIENCE, eventually};

const CURRENT: &str = "last-known-good.jsonl";
const PREVIOUS: &str = "last-known-good.jsonl.previous";

async fn start(registry: &str, dir: &TempDir, more: &[&str]) -> Gateway {
    let mut arguments = vec!["--state-dir", dir.path().to_str().unwrap()];
    arguments.extend_from_slice(more);
    Gateway::start_unready(registry, &arguments, &[]).await
}

/// Waits until the file `name` has an entry of `service`.
async fn kept(dir: &TempDir, name: &str, service: &str) {
    let wanted = format!("\"service\":\"{service}\"");
    eventually(PATIENCE, &format!("{name} has {service}"), async || {
        let text = fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        text.contains(&wanted).then_some(())
    })
    .await;
}

async fn status(gateway: &Gateway) -> Value {
    gateway.get("/gateway/status").await.json()["registry"].clone()
}

/// A registry, `first` and then `second` registered through it and kept, and everything but the stubs killed again.
async fn kept_and_gone(dir: &TempDir, stubs: &[&Stub; 2]) -> String {
    let registry = Registry::start().await;
    let url = registry.url();
    let gateway = start(&url, dir, &[]).await;
    gateway.ready().await;
    registry.put("first_service", "first:1", &stubs[0].url()).await;
    kept(dir, CURRENT, "first_service").await;
    registry.put("second_service", "second:1", &stubs[1].url()).await;
    kept(dir, CURRENT, "second_service").await;
    gateway.program.kill().await;
    registry.program.kill().await;
    url
}

#[tokio::test]
async fn its_first_answer_comes_from_the_disk_and_the_registrys_next_word_confirms_it() {
    let (dir, stub, other) =
        (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
    let url = kept_and_gone(&dir, &[&stub, &other]).await;

    let log = TempDir::new().unwrap();
    let config = log.path().join("gateway.toml");
    let access_log = log.path().join("access.log");
    fs::write(&config, format!("[access_log]\nfile = {:?}\n", access_log.to_str().unwrap())).unwrap();
    let gateway = start(&url, &dir, &["--config", config.to_str().unwrap()]).await;
    // No waiting: the first request that can come is answered.
    let answer = gateway.get("/v2/first_service/x").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["stub"]), (200, &"first".into()), "{answer:?}");
    assert_eq!(get(gateway.admin, "/ready").await.status, 200);
    assert!(
        gateway.program.text().contains("serving the last known good, stale "),
        "{}",
        gateway.program.text()
    );
    assert_eq!(status(&gateway).await["last_known_good"]["unconfirmed"], 2);
    let services = get(gateway.admin, "/services").await.json();
    assert_eq!(services["services"][0]["endpoints"][0]["held"], "last_known_good", "{services}");
    assert!(services["services"][0]["stale_seconds"].as_f64().unwrap() > 0.0);
    // Each worker hands its lines over by itself, in blocks: whole ones, in no order between workers.
    let line = eventually(PATIENCE, "the access log", async || {
        let text = fs::read_to_string(&access_log).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["service"] == "first_service")
    })
    .await;
    assert!(line["stale_seconds"].as_f64().unwrap() > 0.0, "{line}");

    let registry = Registry::start_at(url.strip_prefix("http://").unwrap()).await;
    registry.put("first_service", "first:1", &stub.url()).await;
    registry.put("second_service", "second:1", &other.url()).await;
    eventually(PATIENCE, "everything is confirmed", async || {
        (status(&gateway).await["last_known_good"]["unconfirmed"] == 0
            && get(gateway.admin, "/holds").await.json()["held"] == 0)
            .then_some(())
    })
    .await;
    let services = get(gateway.admin, "/services").await.json();
    assert_eq!(services["services"][0]["stale_seconds"], Value::Null);
}

#[tokio::test]
async fn a_corrupt_file_is_told_and_the_one_before_it_serves() {
    let (dir, first, second) =
        (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
    let url = kept_and_gone(&dir, &[&first, &second]).await;
    let text = fs::read_to_string(dir.path().join(CURRENT)).unwrap();
    fs::write(dir.path().join(CURRENT), text.replace("second:1", "second:2")).unwrap();
    let gateway = start(&url, &dir, &[]).await;
    assert_eq!(gateway.get("/v2/first_service/x").await.status, 200);
    assert!(gateway.program.text().contains(&format!("{CURRENT}: not used, it is corrupt: its checksum")));
    assert!(dir.path().join(format!("{CURRENT}.corrupt")).exists());
}

#[tokio::test]
async fn with_both_files_corrupt_it_starts_clean_and_becomes_ready_with_the_registry() {
    let (dir, first, second) =
        (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
    let url = kept_and_gone(&dir, &[&first, &second]).await;
    fs::write(dir.path().join(CURRENT), "").unwrap();
    fs::write(dir.path().join(PREVIOUS), "{\"format\":1}\nnonsense\n").unwrap();
    let gateway = start(&url, &dir, &[]).await;
    assert_eq!(get(gateway.admin, "/ready").await.status, 503);
    assert_eq!(gateway.get("/v2/first_service/x").await.status, 503);
    let text = gateway.program.text();
    for part in [&format!("{CURRENT}: not used"), &format!("{PREVIOUS}: not used"), "starting without one"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let registry = Registry::start_at(url.strip_prefix("http://").unwrap()).await;
    registry.put("first_service", "first:1", &first.url()).await;
    gateway.ready().await;
    gateway.routes_to("first_service", "first", PATIENCE).await;
    kept(&dir, CURRENT, "first_service").await;
}

#[tokio::test]
async fn a_newer_gateways_file_is_put_aside_unchanged() {
    let (dir, first, second) =
        (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
    let url = kept_and_gone(&dir, &[&first, &second]).await;
    let newer = "{\"format\":2,\"of\":\"tomorrow\"}\n";
    fs::write(dir.path().join(CURRENT), newer).unwrap();
    let gateway = start(&url, &dir, &[]).await;
    assert_eq!(gateway.get("/v2/first_service/x").await.status, 200);
    assert!(gateway.program.text().contains("a newer gateway wrote it, in format 2"));
    let aside = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.to_str().unwrap().contains(".format-2.")).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read_to_string(&aside[0]).unwrap(), newer);
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap()
}

/// Makes every proof in the kept file `ms` older, as a long outage does.
fn age(file: &Path, ms: u64) {
    let text = fs::read_to_string(file).unwrap();
    let (header, body) = text.split_once('\n').unwrap();
    let older = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        entry["last_proof_ms"] = (entry["last_proof_ms"].as_u64().unwrap() - ms).into();
        format!("{entry}\n")
    };
    let body: String = body.lines().map(older).collect();
    let mut header: Value = serde_json::from_str(header).unwrap();
    let sum = Sha256::digest(&body);
    header["sha256"] = sum.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex).collect::<String>().into();
    fs::write(file, format!("{header}\n{body}")).unwrap();
}

#[tokio::test]
async fn past_the_configured_age_it_serves_and_marks_or_refuses() {
    for (when_stale, expected) in [("serve", 200), ("refuse", 503)] {
        let (dir, first, second) =
            (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
        let url = kept_and_gone(&dir, &[&first, &second]).await;
        age(&dir.path().join(CURRENT), 2 * 3_600_000);
        let config = dir.path().join("gateway.toml");
        fs::write(&config, format!("[registry]\nstale_after = \"1h\"\nwhen_stale = \"{when_stale}\"\n"))
            .unwrap();
        let gateway = start(&url, &dir, &["--config", config.to_str().unwrap()]).await;
        let answer = gateway.get("/v2/first_service/x").await;
        assert_eq!(answer.status, expected, "{answer:?}");
        let services = get(gateway.admin, "/services").await.json();
        assert_eq!(services["services"][0]["stale"], true, "{services}");
        if expected == 503 {
            assert_eq!(answer.header("x-vertice-reason"), Some("stale"));
            let registry = Registry::start_at(url.strip_prefix("http://").unwrap()).await;
            registry.put("first_service", "first:1", &first.url()).await;
            gateway.routes_to("first_service", "first", PATIENCE).await;
        }
    }
}

#[tokio::test]
async fn another_registrys_word_is_not_used() {
    let (dir, first, second) =
        (TempDir::new().unwrap(), Stub::start("first").await, Stub::start("second").await);
    let url = kept_and_gone(&dir, &[&first, &second]).await;
    let gateway = start("http://127.0.0.1:9", &dir, &[]).await;
    assert_eq!(get(gateway.admin, "/ready").await.status, 503);
    assert!(
        gateway.program.text().contains(&format!("it is of the registry {url}")),
        "{}",
        gateway.program.text()
    );
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_to_is_an_error_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("below");
    let arguments =
        ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--registry", "http://127.0.0.1:9"];
    let arguments: Vec<_> = arguments.into_iter().chain(["--state-dir", below.to_str().unwrap()]).collect();
    let ended = Program::run("vertice-gateway", &arguments, &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.text);
    assert!(ended.text.contains("the state directory") && ended.text.contains("below"), "{}", ended.text);
}

#[tokio::test]
async fn a_disk_that_fails_later_is_told_once_and_counted() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let registry = Registry::start().await;
    let arguments = ["--state-dir", state.to_str().unwrap()];
    let environment = [("VERTICE_REGISTRY_TOKEN", TOKEN)];
    let gateway = Gateway::start_with(&registry.url(), &arguments, &environment).await;
    fs::remove_dir_all(&state).unwrap();
    let stub = Stub::start("first").await;
    for instance in ["first:1", "first:2"] {
        registry.put("first_service", instance, &stub.url()).await;
        eventually(PATIENCE, "the failure shows", async || {
            let metrics = get(gateway.admin, "/metrics").await.text();
            let error = &status(&gateway).await["last_known_good"]["error"];
            (!metrics.contains("last_known_good_write_failures_total 0\n") && error.is_string()).then_some(())
        })
        .await;
    }
    gateway.routes_to("first_service", "first", PATIENCE).await;
    assert_eq!(gateway.program.text().matches("the last known good cannot be written").count(), 1);
    fs::create_dir(&state).unwrap();
    registry.put("first_service", "first:3", &stub.url()).await;
    eventually(PATIENCE, "it is written again", async || state.join(CURRENT).exists().then_some(())).await;
}
