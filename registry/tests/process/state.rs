//! What a restart keeps, with the real binary: kill -9, a stop in order, a full disk, a directory that is not ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use vertice_registry_api::SourceState;
use vertice_registry_api::snapshot::Snapshot;

use crate::support::{Running, call, command, output, read_all};

fn start(dir: &Path) -> Running {
    Running::start(&["--state-dir", dir.to_str().unwrap()])
}

fn put(address: SocketAddr, id: &str) -> Value {
    let path = format!("/v1/services/osint_service/instances/{id}");
    let (status, body) = call(address, "PUT", &path, r#"{"url":"http://h:80","ttl":300}"#);
    assert!(status == 200 || status == 201, "{status} {body}");
    serde_json::from_str(&body).unwrap()
}

fn snapshot(address: SocketAddr) -> Snapshot {
    let (status, body) = call(address, "GET", "/v1/snapshot", "");
    assert_eq!(status, 200);
    // The body is chunked: only lines that are JSON are of the snapshot.
    let lines = body.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
    Snapshot::parse(lines.collect::<Vec<_>>().join("\n").as_bytes()).unwrap()
}

#[test]
fn kill_9_under_registrations_loses_at_most_the_last_second() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path());
    let address = running.address;
    let (acknowledged, answers) = sync_channel(100_000);
    let before = snapshot(address).position.epoch;
    let registrant = std::thread::spawn(move || {
        for number in 0.. {
            let path = format!("/v1/services/osint_service/instances/i:{number}");
            let (status, body) = call(address, "PUT", &path, r#"{"url":"http://h:80","ttl":300}"#);
            if status != 201 {
                return;
            }
            let answer: Value = serde_json::from_str(&body).unwrap();
            let known = (format!("i:{number}"), answer["generation"].as_u64().unwrap());
            acknowledged.send((Instant::now(), known)).unwrap();
        }
    });
    // As much as the machine does in a while; then it dies in the middle of it.
    let mut known = Vec::new();
    while known.first().is_none_or(|(at, _): &(Instant, _)| at.elapsed() < Duration::from_millis(2500)) {
        known.push(answers.recv().unwrap());
    }
    let killed = Instant::now();
    running.stop(Signal::KILL);
    registrant.join().unwrap();
    known.extend(answers.try_iter());

    let running = start(dir.path());
    assert!(running.said.contains("the epoch is new"), "{}", running.said);
    let after = snapshot(running.address);
    assert_ne!(after.position.epoch, before);
    assert_eq!(after.state, SourceState::Warming);
    let there: BTreeMap<String, u64> =
        after.instances.iter().map(|i| (i.instance_id.to_string(), i.generation)).collect();
    let old = known.iter().filter(|(at, _)| killed.saturating_duration_since(*at) > Duration::from_secs(1));
    let old: Vec<_> = old.collect();
    assert!(old.len() > 10, "a slow machine: {} registrations only", old.len());
    for (_, (id, generation)) in &old {
        assert_eq!(there.get(id), Some(generation), "{id} was acknowledged in time and is lost");
    }
    let highest = known.iter().map(|(_, (_, generation))| *generation).max().unwrap();
    let next = put(running.address, "new:1")["generation"].as_u64().unwrap();
    assert!(next > highest, "a generation is never given twice");
}

#[test]
fn a_stop_in_order_keeps_epoch_revision_handles_and_content() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path());
    let kept = put(running.address, "i:1");
    let gone = put(running.address, "i:2");
    let path = format!("/v1/services/osint_service/instances/i:2?generation={}", gone["generation"]);
    assert_eq!(call(running.address, "DELETE", &path, "").0, 200);
    put(running.address, "i:3");
    let before = snapshot(running.address);
    let (code, log) = running.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");

    let running = start(dir.path());
    assert!(running.said.contains("goes on"), "{}", running.said);
    let after = snapshot(running.address);
    assert_eq!((after.position, after.digest), (before.position, before.digest));
    assert_eq!(after.instances, before.instances);
    let (epoch, revision) = (after.position.epoch, after.position.revision);
    let watch = format!("/v1/watch?epoch={epoch}&revision={revision}&wait=0");
    assert_eq!(call(running.address, "GET", &watch, "").0, 204, "a watcher goes on where it was");
    let beat = json!({ "epoch": epoch, "leases": [[kept["handle"], kept["generation"]]] });
    let (status, body) = call(running.address, "POST", "/v1/heartbeats", &beat.to_string());
    assert!(status == 200 && body.contains(r#""lost":[]"#), "a handle means the same: {body}");
    let next = put(running.address, "i:4");
    assert_eq!(next["revision"].as_u64().unwrap(), revision.0 + 1);
    // A second life in the same epoch that is killed is not vouched for.
    running.stop(Signal::KILL);
    assert_ne!(snapshot(start(dir.path()).address).position.epoch, epoch);
}

#[test]
fn a_damaged_end_is_said_and_what_was_before_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(dir.path());
    put(running.address, "i:1");
    running.stop(Signal::TERM);
    let changes = dir.path().join("changes-00000001");
    let mut bytes = std::fs::read(&changes).unwrap();
    bytes.extend_from_slice(b"0123456789abcdef {\"ups");
    std::fs::write(&changes, bytes).unwrap();
    let running = start(dir.path());
    assert!(running.said.contains("WARN") && running.said.contains("the last 22 of"), "{}", running.said);
    assert_eq!(snapshot(running.address).instances.len(), 1);
}

#[test]
fn what_cannot_be_used_is_one_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let newer = dir.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    std::fs::write(newer.join("snapshot-00000004"), "vertice-registry snapshot, format 9\nx\n").unwrap();
    let taken = dir.path().join("taken");
    let running = start(&taken);
    for (path, words) in [(&file, "cannot make"), (&newer, "newer version"), (&taken, "another registry")] {
        let arguments = ["run", "--listen", "127.0.0.1:0", "--state-dir", path.to_str().unwrap()];
        let (output, stderr) = output(&arguments);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(words), "{stderr}");
        assert!(stderr.contains("--state-dir") && stderr.contains(path.to_str().unwrap()), "{stderr}");
    }
    drop(running);
}

#[test]
fn tokens_are_not_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["run", "--listen", "127.0.0.1:0", "--state-dir", dir.path().to_str().unwrap()];
    let running = Running::spawned(command(&arguments).env("REGISTRY_AUTH_TOKEN", "s3cret-t0ken"));
    assert_eq!(call(running.address, "PUT", "/v1/services/ab/instances/i", "{}").0, 401);
    running.stop(Signal::TERM);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("s3cret-t0ken"));
    }
}

/// Waits until the metrics say `line`.
fn wait_for(address: SocketAddr, line: &str) {
    let started = Instant::now();
    while !String::from_utf8_lossy(&read_all(address, "/metrics")).contains(line) {
        assert!(started.elapsed() < Duration::from_secs(20), "{line} never came");
    }
}

#[test]
fn a_full_disk_is_said_and_serving_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut limited = std::process::Command::new("sh");
    // No file may grow over 16 blocks of 512 (or 1024) bytes.
    limited.args([
        "-c",
        r#"trap '' XFSZ; ulimit -f 16; exec "$0" "$@""#,
        env!("CARGO_BIN_EXE_vertice-registry"),
    ]);
    limited.args(["run", "--listen", "127.0.0.1:0", "--state-dir", dir.path().to_str().unwrap()]);
    limited.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    let running = Running::spawned(&mut limited);
    let answers: Vec<Value> = (0..80).map(|number| put(running.address, &format!("i:{number}"))).collect();
    wait_for(running.address, "vertice_registry_state_failing 1\n");
    put(running.address, "one-more");
    for answer in &answers[1..] {
        let (id, generation) = (answer["instance_id"].as_str().unwrap(), &answer["generation"]);
        let path = format!("/v1/services/osint_service/instances/{id}?generation={generation}");
        assert_eq!(call(running.address, "DELETE", &path, "").0, 200);
    }
    wait_for(running.address, "vertice_registry_state_failing 0\n");
    let before = snapshot(running.address);
    let (_, log) = running.stop(Signal::TERM);
    assert!(log.contains("cannot be written") && log.contains("written again"), "{log}");
    let after = snapshot(start(dir.path()).address);
    assert_eq!((after.position, after.digest), (before.position, before.digest));
}
