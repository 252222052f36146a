//! The operator's commands against a registry that runs, as they are typed.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::support::{Running, call, command};

/// Exit code, standard output, standard error.
fn run(address: SocketAddr, arguments: &[&str], token: Option<&str>) -> (Option<i32>, String, String) {
    let url = format!("http://{address}");
    let mut command = command(&[arguments, &["--registry", &url]].concat());
    if let Some(token) = token {
        command.env("REGISTRY_AUTH_TOKEN", token);
    }
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// One that must succeed; its output.
fn done(address: SocketAddr, arguments: &[&str]) -> String {
    let (code, output, errors) = run(address, arguments, None);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}: {output}");
    output
}

fn put(address: SocketAddr, service: &str, id: &str) {
    let path = format!("/v1/services/{service}/instances/{id}");
    assert_eq!(call(address, "PUT", &path, r#"{"url":"http://h:80"}"#).0, 201);
}

#[test]
fn list_shows_what_is_there_for_people_and_for_scripts() {
    let registry = Running::start(&[]);
    let address = registry.address;
    assert_eq!(done(address, &["list"]), "warming, revision 0, 0 instances\n");
    put(address, "osint_service", "h:1");
    put(address, "ip_service", "h:1");
    let all = done(address, &["list"]);
    assert!(all.contains("SERVICE") && all.contains("osint_service") && all.contains("ip_service"), "{all}");
    let one = done(address, &["list", "ip_service"]);
    assert!(one.contains("ip_service") && !one.contains("osint_service"), "{one}");
    let json: Value = serde_json::from_str(&done(address, &["list", "--json"])).unwrap();
    assert_eq!(json["total"], 2);
}

#[test]
fn override_drain_and_remove_do_it_and_say_it() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Running::start(&["--state-dir", dir.path().to_str().unwrap()]);
    let address = registry.address;
    put(address, "osint_service", "h:1");
    let down = done(address, &["override", "osint_service", "h:1", "down"]);
    assert!(down.contains("osint_service h:1: down"), "{down}");
    assert!(done(address, &["list"]).contains("down (operator; owner: up)"));
    done(address, &["override", "osint_service", "h:1", "clear"]);
    assert!(!done(address, &["list"]).contains("operator"));
    let drained = done(address, &["drain", "osint_service", "h:1"]);
    assert!(drained.contains("0 of 0 gateways"), "{drained}");
    // A gateway that has not applied it yet.
    let health: Value = serde_json::from_str(&call(address, "GET", "/health", "").1).unwrap();
    let ack = format!(r#"{{"gateway":"g1","epoch":{},"revision":1}}"#, health["epoch"]);
    assert_eq!(call(address, "POST", "/v1/ack", &ack).0, 200);
    let (code, output, _) = run(address, &["drain", "osint_service", "h:1", "--timeout", "0"], None);
    assert!(code == Some(3) && output.contains("still missing after 0 s: g1"), "{code:?} {output}");
    assert!(done(address, &["remove", "osint_service", "h:1"]).contains("removed"));
    let (code, _, errors) = run(address, &["remove", "osint_service", "h:1"], None);
    assert_eq!(code, Some(1));
    assert_eq!(errors, "vertice-registry: osint_service h:1 is not registered\n");
    assert!(done(address, &["release"]).contains("not on"));
    registry.stop(rustix::process::Signal::TERM);
    let audit = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
    let actions: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<_> = actions.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["override", "override", "override", "override", "remove"]);
    // They can be asked for after a restart.
    let registry = Running::start(&["--state-dir", dir.path().to_str().unwrap()]);
    let (status, body) = call(registry.address, "GET", "/v1/audit", "");
    assert!(status == 200 && body.matches("\"action\"").count() == 5, "{body}");
}

#[test]
fn every_failure_is_one_clear_line() {
    let registry =
        Running::spawned(command(&["run", "--listen", "127.0.0.1:0"]).env("REGISTRY_AUTH_TOKEN", "s3cret"));
    let address = registry.address;
    let release = &["release"][..];
    for (arguments, token, words) in [
        (release, None, "--token-file"),
        (release, Some("wrong"), "--token-file"),
        (&["override", "osint_service", "h:1", "up"][..], Some("s3cret"), "not registered"),
        (&["release", "--token-file", "/nonexistent"][..], None, "cannot be read"),
    ] {
        let (code, output, errors) = run(address, arguments, token);
        assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}: {errors}");
        assert!(errors.lines().count() == 1 && errors.contains(words), "{arguments:?}: {errors}");
        assert!(!errors.contains("s3cret"), "a secret is never shown");
    }
    assert_eq!(run(address, release, Some("s3cret")).0, Some(0));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    assert_eq!(run(address, &["release", "--token-file", file.path().to_str().unwrap()], None).0, Some(0));
    for wrong in
        [&["list", "A B"][..], &["override", "osint_service", "h:1", "gone"], &["drain", "osint_service"]]
    {
        assert_eq!(run(address, wrong, None).0, Some(2), "{wrong:?}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let (code, _, errors) = run(nobody, &["list"], None);
    assert!(code == Some(1) && errors.contains("does it run?"), "{errors}");
    assert_eq!(errors.lines().count(), 1);
}
