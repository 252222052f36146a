//! Two processes `vertice-registry run --store redis://...`, as clients and operators meet them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod redis_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use redis_support::{Server, eventually};
use serde_json::Value;

const PASSWORD: &str = "s3cret";

fn command(arguments: &[&str], password: Option<&str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vertice-registry"));
    command.args(["run", "--listen", "127.0.0.1:0"]).args(arguments).env_clear();
    command.envs(password.map(|password| ("REDIS_PASSWORD", password)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn refused(arguments: &[&str], password: Option<&str>) -> String {
    let Output { status, stderr, .. } = command(arguments, password).output().unwrap();
    assert!(!status.success());
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!stderr.contains(PASSWORD), "a secret is never shown: {stderr}");
    stderr
}

/// A process; killed when dropped.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments, Some(PASSWORD)).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("the registry listens") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without listening");
        }
        let address = line.split_once(" address=").unwrap().1;
        let address = address.split_whitespace().next().unwrap();
        let address = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        // Read on, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, address }
    }

    /// Status, head and body of the answer.
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: r\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn register(&self, id: &str) -> Value {
        let path = format!("/v1/services/osint_service/instances/{id}");
        let (status, _, body) = self.call("PUT", &path, r#"{"url":"http://127.0.0.1:80","incarnation":1}"#);
        assert!(status < 300, "{body}");
        body
    }

    fn state(&self) -> String {
        let head = self.call("GET", "/services", "").1;
        let state = head.split_once("x-registry-state: ").unwrap().1;
        state.lines().next().unwrap().to_owned()
    }

    fn ids(&self) -> Vec<String> {
        let (_, _, body) = self.call("GET", "/services/osint_service", "");
        let instances = body["instances"].as_array().cloned().unwrap_or_default();
        instances.iter().map(|instance| instance["instance_id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn two_processes_are_one_registry_and_outlive_their_redis() {
    let mut server = Server::start(&["--requirepass", PASSWORD, "--appendonly", "yes"]).await;
    let store = server.address();
    let (a, b) = (Registry::start(&["--store", &store]), Registry::start(&["--store", &store]));
    for registry in [&a, &b] {
        eventually("in step", || registry.state() == "warming").await;
    }
    let x = a.register("x");
    assert_eq!(a.ids(), ["x"]);
    eventually("x at b", || b.ids() == ["x"]).await;
    let (handle, generation) = (&x["handle"], &x["generation"]);
    let beats = format!(r#"{{"epoch":{},"leases":[[{handle},{generation}],[7,7]]}}"#, x["epoch"]);
    let (_, _, beaten) = b.call("POST", "/v1/heartbeats", &beats);
    assert_eq!(beaten["lost"], serde_json::json!([7]), "handles mean the same everywhere");
    let path = format!("/v1/services/osint_service/instances/x?generation={generation}");
    let (status, _, patched) = b.call("PATCH", &path, r#"{"weight":7}"#);
    assert_eq!((status, &patched["epoch"]), (200, &x["epoch"]));
    assert_eq!(patched["revision"], x["revision"].as_u64().unwrap() + 1);
    server.kill();
    eventually("degraded", || a.state() == "degraded" && b.state() == "degraded").await;
    a.register("y");
    assert_eq!(a.ids(), ["x", "y"]);
    server.restart().await;
    eventually("y at b", || b.ids() == ["x", "y"]).await;
    let (status, _, body) = b.call("DELETE", "/v1/services/osint_service/instances/y?by=operator", "");
    assert_eq!((status, &body["removed"]), (200, &Value::Bool(true)));
    let old = r#"{"service_name":"osint_service","endpoint":"http://127.0.0.1:81"}"#;
    assert_eq!(a.call("POST", "/register", old).0, 201);
    assert_eq!(b.call("POST", "/heartbeat", r#"{"service_name":"osint_service"}"#).0, 200);
    eventually("both at both", || [&a, &b].iter().all(|r| r.ids() == ["@legacy", "x"])).await;
    assert_eq!(b.call("DELETE", "/deregister/osint_service", "").0, 200);
    assert_eq!(b.ids(), ["x"], "the writer reads its own write");
    let (status, _, body) = b.call("POST", "/v1/release", "");
    assert_eq!((status, &body["released"]), (200, &Value::Bool(false)), "nothing to release");
    server.kill();
    eventually("degraded", || b.state() == "degraded").await;
    assert_eq!(b.call("POST", "/v1/release", "").0, 409);
}

#[test]
fn mistakes_of_the_store_are_one_clear_message() {
    for (arguments, password, word) in [
        (&["--store", "etcd://h"][..], None, "redis://"),
        (&["--store", "rediss://h"], None, "TLS"),
        (&["--store", "redis://:s3cret@h:x"], None, "host:port"),
        (&["--store", "redis://:other@h"], Some(PASSWORD), "keep one"),
        (&["--redis-legacy"], None, "--store"),
        (&["--store", "redis://h", "--state-dir", "/nonexistent"], None, "keep one"),
    ] {
        let said = refused(arguments, password);
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
