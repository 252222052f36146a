//! The binary as an operator meets it: what it says when it cannot start, and how it stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::missing_docs_in_private_items,
    reason = "tests stop at the first surprise"
)]

mod support;
mod state;
mod operator;

use std::io::Read as _;
use std::net::TcpListener;

use rustix::process::Signal;

use support::{Running, command, first_line, get, output, read_all};

#[test]
fn help_tells_every_flag_and_the_environment() {
    let (output, _) = output(&["run", "--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for word in [
        "--listen",
        "127.0.0.1:8888",
        "--store",
        "memory",
        "--state-dir",
        "--admin",
        "--tokens",
        "--insecure",
        "--allow-network",
        "--allow-suffix",
        "REGISTRY_AUTH_TOKEN",
        "REGISTRY_AUTH_TOKEN_FILE",
    ] {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
}

#[test]
fn what_it_does_not_know_is_an_error() {
    for arguments in [
        &["run", "--colour"][..],
        &["run", "--store", "etcd://x"],
        &["run", "--listen", "nowhere"],
        &["run", "--allow-network", "10.0.0.0/99"],
        &["walk"],
        &[],
    ] {
        let (output, stderr) = output(arguments);
        assert!(!output.status.success() && !stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_taken_port_is_one_clear_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, flag) in [
        (vec!["run", "--listen", &address], "--listen"),
        (vec!["run", "--listen", "127.0.0.1:0", "--admin", &address], "--admin"),
    ] {
        let (output, stderr) = output(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(&address) && stderr.contains("taken") && stderr.contains(flag), "{stderr}");
    }
}

#[test]
fn no_tokens_beyond_loopback_is_one_clear_message() {
    let (output, stderr) = output(&["run", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for way_out in ["REGISTRY_AUTH_TOKEN", "--tokens", "127.0.0.1", "--insecure"] {
        assert!(stderr.contains(way_out), "{stderr}");
    }
}

#[test]
fn every_mistake_of_a_tokens_file_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "colour = 1\n[[token]]\nname = 7\n").unwrap();
    let path = file.path().to_str().unwrap();
    let (output, stderr) = output(&["run", "--tokens", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&format!("{path}:1:1: unknown key 'colour'")), "{stderr}");
    assert!(stderr.contains(&format!("{path}:3:8: name is an integer")), "{stderr}");
    let (output, stderr) = self::output(&["run", "--tokens", "/nonexistent/tokens.toml"]);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
}

#[test]
fn two_sources_of_tokens_contradict() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = command(&["run", "--tokens", file.path().to_str().unwrap()]);
    let output = command.env("REGISTRY_AUTH_TOKEN", "s3cret").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("keep one of them"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "a secret is never shown");
}

#[test]
fn it_says_where_it_listens_and_serves_the_admin_paths() {
    let running = Running::start(&["--admin", "127.0.0.1:0"]);
    assert_eq!(first_line(get(running.address, "/services")), "HTTP/1.1 200 OK");
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(first_line(get(running.admin.unwrap(), path)), "HTTP/1.1 200 OK", "{path}");
    }
    assert_eq!(first_line(get(running.admin.unwrap(), "/services")), "HTTP/1.1 404 Not Found");
}

#[test]
fn a_signal_answers_the_waiting_and_stops() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(&[]);
        let mut snapshot = String::new();
        let mut stream = get(running.address, "/v1/snapshot");
        let mut piece = [0; 1024];
        while !snapshot.contains("x-registry-epoch: ") || !snapshot.contains("\r\n\r\n") {
            let read = stream.read(&mut piece).unwrap();
            snapshot.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        }
        let epoch = &snapshot.split_once("x-registry-epoch: ").unwrap().1[..32];
        let waiting = get(running.address, &format!("/v1/watch?epoch={epoch}&revision=0&wait=60"));
        // Answered requests on a later connection prove that the earlier one was taken in.
        while !String::from_utf8_lossy(&read_all(running.address, "/metrics")).contains("watchers 1\n") {}
        let (code, log) = running.stop(signal);
        assert_eq!(code, Some(0));
        assert!(log.contains("stopping") && !log.contains("cut"), "everything ended by itself: {log}");
        assert_eq!(first_line(waiting), "HTTP/1.1 204 No Content");
    }
}
