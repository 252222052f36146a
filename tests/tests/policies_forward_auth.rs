//! A service that decides: it is told what is asked for, its yes lets in, its no goes to the client, its silence to nobody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vertice_tests::guarded::{Guarded, assert_refused, seen};
use vertice_tests::http::{request, send};
use vertice_tests::http2;
use vertice_tests::wait::{PATIENCE, eventually, within};

const CONFIG: &str = r#"
[forward_auth.sso]
service = "auth_service"
path = "/verify"
timeout = "500ms"
request_headers = ["cookie", "authorization"]
response_headers = ["x-user", "x-groups"]

[[route]]
name = "guarded"
prefix = "/app"
service = "core_service"
auth = { forward = "sso" }

[[route]]
name = "open"
prefix = "/open"
service = "core_service"
"#;

/// A service that answers by the cookie of each question, keeps connections, and remembers what came.
struct Decider {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Decider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let decider = Self { url, heads: Arc::default(), connections: Arc::default() };
        let (heads, connections) = (decider.heads.clone(), decider.connections.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                let heads = heads.clone();
                tokio::spawn(async move {
                    let mut head = String::new();
                    while let Ok(byte) = stream.read_u8().await {
                        head.push(char::from(byte));
                        if !head.ends_with("\r\n\r\n") {
                            continue;
                        }
                        let answer = decide(&head);
                        heads.lock().unwrap().push(std::mem::take(&mut head).to_lowercase());
                        if answer.is_empty() {
                            std::future::pending::<()>().await;
                        }
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        decider
    }

    fn last(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap()
    }
}

fn decide(head: &str) -> String {
    let cookie =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("cookie: ").map(str::to_owned));
    match cookie.as_deref().unwrap_or_default() {
        "in" => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-User: alice\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: 1\r\n\r\nbody".into(),
        "redirect" => "HTTP/1.1 302 Found\r\nLocation: https://login.example/?back=%2F\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\nKeep-Alive: 5\r\n\r\n".into(),
        "forbidden" => "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n".into(),
        "error" => "HTTP/1.1 500 Oops\r\nContent-Length: 6\r\n\r\nsecret".into(),
        "large" => format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)),
        "broken" => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody".into(),
        "silent" => String::new(),
        _ => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"sso\"\r\nContent-Length: 5\r\n\r\nlogin".into(),
    }
}

async fn system() -> (Decider, Guarded) {
    let decider = Decider::start().await;
    let system = Guarded::start(CONFIG, &[]).await;
    system.registry.put_with("auth_service", "auth:1", &decider.url, json!({ "health": "tcp" })).await;
    eventually(PATIENCE, "the decider is known", async || {
        (system.get("/app/x", &[("cookie", "in")]).await.status == 200).then_some(())
    })
    .await;
    (decider, system)
}

#[tokio::test]
async fn a_yes_lets_in_with_what_it_says_and_the_body_goes_to_the_service_alone() {
    let (decider, system) = system().await;
    let spoofed = [
        ("cookie", "in"),
        ("x-user", "root"),
        ("x_groups", "root"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-method", "HEAD"),
        ("x-secret", "1"),
    ];
    let post =
        send(system.gateway.address, request("POST", "/app/a%2Fb?q=1&q=2", &spoofed, "the body")).await;
    assert_eq!(post.status, 200, "{post:?}");
    assert_eq!(post.json()["body"], "the body");
    assert_eq!(seen(&post, "x-user"), ["alice"]);
    assert_eq!(seen(&post, "x-groups"), ["a", "b"]);
    assert!(seen(&post, "x_groups").is_empty() && seen(&post, "x-other").is_empty(), "{post:?}");
    let asked = decider.last();
    assert!(asked.starts_with("get /verify http/1.1\r\n"), "{asked}");
    for line in [
        "x-forwarded-method: post",
        "x-forwarded-uri: /app/a%2fb?q=1&q=2",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "cookie: in",
    ] {
        assert_eq!(asked.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {asked}");
    }
    assert!(
        !asked.contains("x-secret")
            && !asked.contains("content-length")
            && !asked.contains("transfer-encoding"),
        "{asked}"
    );
    let open = system.get("/open/x", &spoofed).await;
    assert!(seen(&open, "x-user").is_empty() && seen(&open, "x_groups").is_empty(), "{open:?}");

    // One connection carries the questions of one worker, and requests may follow each other on one of the client.
    let mut client = vertice_tests::http::Connection::open(system.gateway.address).await.unwrap();
    let before = *decider.connections.lock().unwrap();
    for _ in 0..10 {
        assert_eq!(client.send(request("GET", "/app/x", &[("cookie", "in")], "")).await.unwrap().status, 200);
    }
    let opened = *decider.connections.lock().unwrap() - before;
    assert!(opened <= 2, "{opened} connections for ten questions, health checks left out");
}

#[tokio::test]
async fn a_no_goes_to_the_client_as_it_is() {
    let (decider, system) = system().await;
    let before = system.stub.requests();
    let login = system.get("/app/x", &[]).await;
    assert_eq!((login.status.as_u16(), login.text().as_str()), (401, "login"), "{login:?}");
    assert_eq!(login.header("www-authenticate"), Some("Basic realm=\"sso\""));
    assert!(
        login.header("x-request-id").is_some() && login.header("x-vertice-reason").is_none(),
        "{login:?}"
    );
    let redirect = system.get("/app/x", &[("cookie", "redirect")]).await;
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.header("location"), Some("https://login.example/?back=%2F"));
    assert_eq!(redirect.headers.get_all("set-cookie").iter().count(), 2);
    assert!(redirect.header("keep-alive").is_none());
    let forbidden = system.get("/app/x", &[("cookie", "forbidden")]).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.text().as_str()), (403, "no"));
    assert_eq!(
        (forbidden.header("content-type"), forbidden.header("transfer-encoding")),
        (Some("text/html"), None)
    );
    let post = send(system.gateway.address, request("POST", "/app/x", &[], "unwanted")).await;
    assert_eq!((post.status.as_u16(), post.header("connection")), (401, Some("close")));

    let mut client = http2::Connection::open(system.gateway.address).await.unwrap();
    let over_http2 = client.send(request("GET", "/app/x", &[], "")).await.unwrap();
    assert_eq!((over_http2.status.as_u16(), over_http2.text().as_str()), (401, "login"));
    for (cookie, status) in [("", "16"), ("forbidden", "7"), ("error", "14")] {
        let headers = [("content-type", "application/grpc"), ("cookie", cookie)];
        let answer = client.send(request("POST", "/app/a.B/C", &headers, "")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some(status)), "{answer:?}");
    }
    assert_eq!(system.stub.requests(), before, "nothing of it came to the service");
    drop(decider);
}

#[tokio::test]
async fn no_decision_is_a_no() {
    let (_decider, system) = system().await;
    let series = "vertice_gateway_own_answers_total{reason=\"auth_unavailable\"}";
    let (before, refused) = (system.stub.requests(), system.metric(series).await.unwrap_or_default());
    for cookie in ["error", "large", "broken", "silent"] {
        let answer = system.get("/app/x", &[("cookie", cookie)]).await;
        assert_refused(&answer, 503, "auth_unavailable");
        assert!(!answer.text().contains("secret"), "{answer:?}");
    }
    assert_eq!(system.stub.requests(), before);
    assert_eq!(system.get("/app/x", &[("cookie", "in")]).await.status, 200, "and back again");
    let now = system.metric(series).await.unwrap();
    assert!((now - refused - 4.0).abs() < 0.5, "{refused} {now}");
}

#[tokio::test]
async fn a_decider_that_nobody_knows_lets_nobody_in() {
    let system = Guarded::start(CONFIG, &[]).await;
    assert_refused(&system.get("/app/x", &[("cookie", "in")]).await, 503, "auth_unavailable");
    assert_eq!(system.get("/open/x", &[]).await.status, 200);
    assert_eq!(system.stub.requests(), 1);
}

#[tokio::test]
async fn what_comes_after_a_decision_has_its_own_time() {
    let (_decider, system) = system().await;
    system.stub.answer_after(Duration::from_millis(1500));
    let answer = system.get("/app/x", &[("cookie", "in")]).await;
    assert_eq!(answer.status, 200, "three times the timeout of the decision: {answer:?}");
    system.stub.answer_after(Duration::ZERO);

    // A body that comes more slowly than the decision may take.
    let head =
        "POST /app/x HTTP/1.1\r\nHost: a\r\nCookie: in\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
    let mut stream = TcpStream::connect(system.gateway.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for byte in b"slow" {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = String::new();
    within(PATIENCE, "the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"body\":\"slow\""), "{answer}");
}
