//! API keys: who has one gets in, as with the original gateway, and no key goes anywhere else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use vertice_tests::guarded::{Guarded, assert_refused, seen};
use vertice_tests::http::{raw_to_end, request, send};
use vertice_tests::process::{Program, path_of};
use vertice_tests::{http2, wait};

const KEY: &str = "key-of-ci-0123456789";
const ENVIRONMENT: [(&str, &str); 2] = [("CI_KEY", KEY), ("MAXIMUS_API_KEY", "the-original-key")];

const CONFIG: &str = r#"
[access_log]
file = "{folder}/access.log"

[[api_key]]
name = "ci"
key_env = "CI_KEY"
scopes = ["osint"]

[[api_key]]
name = "old"
# of "key-of-old"
sha256 = "d5c7de6d1d8d4a8d5d4a7b0eac3e4a9f2b1fd3c9e6c4ddd0a8c9e4e7f8a1b2c3"
expires = "2020-01-01T00:00:00Z"

[policies]
auth = { api_key = true }

[[route]]
name = "general"
prefix = "/general"
service = "core_service"

[[route]]
name = "osint"
prefix = "/osint"
service = "core_service"
auth = { api_key = true, scopes = ["osint"] }

[[route]]
name = "admin"
prefix = "/admin"
service = "core_service"
auth = { api_key = true, scopes = ["admin:access"] }

[[route]]
name = "stream"
prefix = "/stream"
service = "core_service"
auth = { api_key = true, query_key = true }

[[route]]
name = "open"
prefix = "/open"
service = "core_service"
auth = "none"
"#;

/// With the hash of `key-of-old` as the program makes it.
fn config() -> String {
    let placeholder = "d5c7de6d1d8d4a8d5d4a7b0eac3e4a9f2b1fd3c9e6c4ddd0a8c9e4e7f8a1b2c3";
    CONFIG.replace(placeholder, &hash_key("key-of-old\n").unwrap())
}

fn hash_key(input: &str) -> Option<String> {
    let mut command = Command::new(path_of("vertice-gateway"));
    command.arg("hash-key").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may refuse before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn the_program_hashes_keys() {
    let hash = Some("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b".to_owned());
    assert_eq!((hash_key("secret"), hash_key("secret\r\n")), (hash.clone(), hash));
    for input in ["", "\n", "two words", "a\nb", "k\u{e4}se"] {
        assert_eq!(hash_key(input), None, "{input:?}");
    }
}

#[tokio::test]
async fn refusals_are_those_of_the_original_with_our_own_members() {
    let system = Guarded::start(&config(), &ENVIRONMENT).await;
    for target in ["/general/x", "/osint/x", "/admin/x", "/stream/x", "/v2/core_service/x"] {
        let missing = system.get(target, &[]).await;
        assert_refused(&missing, 403, "key_missing");
        assert_eq!(missing.json()["detail"], "Not authenticated");
        assert_eq!(missing.json()["request_id"].as_str(), missing.header("x-request-id"));
        let wrong = system.get(target, &[("x-api-key", "no")]).await;
        assert_refused(&wrong, 401, "key_wrong");
        assert_eq!(wrong.json()["detail"], "Invalid API Key");
        assert!(wrong.header("www-authenticate").is_some(), "RFC 9110 15.5.2: {wrong:?}");
        let expired = system.get(target, &[("x-api-key", "key-of-old")]).await;
        assert_refused(&expired, 401, "key_expired");
    }
    assert_eq!(system.stub.requests(), 0, "nothing of it came to the service");
    for target in ["/health", "/gateway/status", "/gateway/health-check/core_service"] {
        assert_eq!(system.get(target, &[]).await.status, 200, "{target} is for who watches the gateway");
    }
    assert_eq!(system.metric("vertice_gateway_own_answers_total{reason=\"key_missing\"}").await, Some(5.0));
    let left = system.metric("vertice_gateway_api_key_expiry_seconds{key=\"old\"}").await.unwrap();
    assert!(left < -31_536_000.0, "{left}");
    assert!(system.gateway.program.text().contains("API key 'old' has expired"));
}

#[tokio::test]
async fn keys_let_in_for_their_scopes_and_go_nowhere() {
    let system = Guarded::start(&config(), &ENVIRONMENT).await;
    for (target, key, status) in [
        ("/general/x", KEY, 200),
        ("/osint/x", KEY, 200),
        ("/admin/x", KEY, 403),
        ("/admin/x", "the-original-key", 200),
        ("/v2/core_service/x", "the-original-key", 200),
    ] {
        let answer = system.get(target, &[("X-API-Key", key), ("x_api_key", "alias")]).await;
        assert_eq!(answer.status.as_u16(), status, "{target} {answer:?}");
        if status == 200 {
            assert!(
                seen(&answer, "x-api-key").is_empty() && seen(&answer, "x_api_key").is_empty(),
                "{answer:?}"
            );
        } else {
            assert_refused(&answer, 403, "scope_missing");
        }
    }
    // A route without auth: keys of ours are none of its service's business, its own are.
    let ours = system.get("/open/x", &[("x-api-key", KEY)]).await;
    assert!(seen(&ours, "x-api-key").is_empty(), "{ours:?}");
    let theirs = system.get("/open/x", &[("x-api-key", "of-the-service")]).await;
    assert_eq!(seen(&theirs, "x-api-key"), ["of-the-service"]);

    let log = system.log_with(&["\"who\":\"ci\"", "\"who\":\"maximus\"", "\"route\":\"open\""]).await;
    let text = system.gateway.program.text();
    for secret in [KEY, "the-original-key", "key-of-old"] {
        assert!(!log.contains(secret) && !text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn where_a_route_allows_it_the_key_is_cut_from_the_query_and_the_rest_stays_byte_for_byte() {
    let system = Guarded::start(&config(), &ENVIRONMENT).await;
    for (query, left) in [
        (format!("?api_key={KEY}"), ""),
        (format!("?a=%2F&api_key={KEY}&a=+&&b"), "?a=%2F&a=+&&b"),
        (format!("?api%5Fkey={KEY}&x"), "?x"),
    ] {
        let answer = system.get(&format!("/stream/s{query}"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["target"], format!("/stream/s{left}"), "{query}");
    }
    for (query, header, status) in [
        ("?api_key=no", None, 401),
        ("?api_key=", None, 401),
        (&*format!("?api_key={KEY}&api_key={KEY}"), None, 401),
        (&*format!("?api_key={KEY}"), Some(KEY), 401),
    ] {
        let headers: Vec<_> = header.iter().map(|key| ("x-api-key", *key)).collect();
        let answer = system.get(&format!("/stream/s{query}"), &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{query} {header:?} {answer:?}");
    }
    // Where it is not allowed, it is no key.
    assert_refused(&system.get(&format!("/general/s?api_key={KEY}"), &[]).await, 403, "key_missing");
}

#[tokio::test]
async fn malformed_keys_are_wrong_and_nothing_worse() {
    let system = Guarded::start(&config(), &ENVIRONMENT).await;
    let large = "k".repeat(60 * 1024);
    assert_refused(&system.get("/general/x", &[("x-api-key", &large)]).await, 401, "key_wrong");
    assert_refused(
        &system.get("/general/x", &[("x-api-key", KEY), ("x-api-key", KEY)]).await,
        401,
        "key_wrong",
    );
    for key in [&b"\xff\xfe"[..], b"", b"key-of-ci-0123456789, x", b"KEY-OF-CI-0123456789"] {
        let mut bytes = b"GET /general/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: ".to_vec();
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(b"\r\n\r\n");
        let answer = raw_to_end(system.gateway.address, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{key:?}: {answer}");
    }
    let named_away = [("connection", "x-api-key"), ("x-api-key", "no")];
    assert_refused(&system.get("/general/x", &named_away).await, 401, "key_wrong");
    // With a body that nobody wants, the next request on the connection is not misread.
    let post = b"POST /general/x HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\nX-Inside: 1\r\n\r\n";
    let answer = raw_to_end(system.gateway.address, post).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(system.stub.requests(), 0);
}

#[tokio::test]
async fn http2_grpc_and_websockets_are_refused_in_their_own_terms() {
    let system = Guarded::start(&config(), &ENVIRONMENT).await;
    let mut client = http2::Connection::open(system.gateway.address).await.unwrap();
    let refused = client.send(request("GET", "/general/x", &[], "")).await.unwrap();
    assert_refused(&refused, 403, "key_missing");
    let let_in =
        client.send(request("GET", "/stream/x?a&api_key=key-of-ci-0123456789", &[], "")).await.unwrap();
    assert_eq!(let_in.json()["target"], "/stream/x?a");
    for (key, status, reason) in [(None, "7", "key_missing"), (Some("no"), "16", "key_wrong")] {
        let mut headers = vec![("content-type", "application/grpc")];
        headers.extend(key.map(|key| ("x-api-key", key)));
        let answer = client.send(request("POST", "/general/a.B/C", &headers, "")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some(status)), "{answer:?}");
        assert_eq!(answer.header("x-vertice-reason"), Some(reason));
    }
    let handshake = "GET /general/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let answer = raw_to_end(system.gateway.address, handshake.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(system.stub.requests(), 1);
    // A browser's WebSocket can send no header: with the key in the query it comes to the service, which here declines.
    let with_key = handshake.replace("/general/ws", &format!("/stream/ws?room=1&api_key={KEY}"));
    let answer = raw_to_end(system.gateway.address, with_key.as_bytes()).await;
    assert!(answer.contains("/stream/ws?room=1\"") && answer.contains("sec-websocket-key"), "{answer}");
}

#[tokio::test]
async fn a_key_in_a_file_is_replaced_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "first-key\n").unwrap();
    let config =
        "[[api_key]]\nname = \"a\"\nkey_file = \"{folder}/key\"\n[policies]\nauth = { api_key = true }\n";
    let system = Guarded::start_in(folder, config, &[]).await;
    let status =
        async |key: &str| system.get("/v2/core_service/x", &[("x-api-key", key)]).await.status.as_u16();
    assert_eq!((status("first-key").await, status("second-key").await), (200, 401));
    std::fs::write(system.folder.path().join("key"), "second-key\n").unwrap();
    let reloaded = send(system.gateway.admin, request("POST", "/config/reload", &[], "")).await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!((status("first-key").await, status("second-key").await), (401, 200));
    let shown = vertice_tests::http::get(system.gateway.admin, "/config").await.text();
    assert!(shown.contains("\"api_keys\"") && !shown.contains("second-key"), "{shown}");
}

#[tokio::test]
async fn without_any_key_nobody_gets_in_and_the_log_says_so() {
    let mut system = Guarded::start("[policies]\nauth = { api_key = true }\n", &[]).await;
    assert_refused(&system.get("/v2/core_service/x", &[]).await, 403, "key_missing");
    assert_refused(&system.get("/v2/core_service/x", &[("x-api-key", "")]).await, 401, "key_wrong");
    let said = system
        .gateway
        .program
        .line("the missing key", |line| line.contains("there is none: nobody gets in").then_some(()));
    wait::within(wait::PATIENCE, "the log says it", said).await;
    let ended = Program::run("vertice-gateway", &["check", "--config", "/nonexistent"], &[]).await;
    assert!(!ended.status.success());
}
