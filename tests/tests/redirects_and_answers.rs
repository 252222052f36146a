//! Routes that ask no service: redirects, maintenance, fixed pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{Connection, get, raw_to_end, request, send};
use vertice_tests::http2;
use vertice_tests::process::Program;
use vertice_tests::system::{Gateway, Registry};

const CONFIG: &str = r#"
[[route]]
name = "moved"
prefix = "/old"
redirect = { to = "https://new.example/docs{rest}{query}", status = 308 }

[[route]]
name = "here"
prefix = "/here"
redirect = { to = "{rest}" }

[[route]]
name = "maintenance"
prefix = "/shop"
answer = { status = 503, body = "<h1>Back at noon</h1>", content_type = "text/html", retry_after = "10m", headers = { x-why = "maintenance" } }

[[route]]
name = "robots"
path = "/robots.txt"
answer = { status = 200, body = """
User-agent: *
Disallow: /
""" }

[[route]]
name = "gone"
path = "/gone"
answer = { status = 204 }
response_headers = { set = { cache-control = "no-store" } }
"#;

async fn gateway() -> (Registry, Gateway) {
    let registry = Registry::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONFIG).unwrap();
    let gateway =
        Gateway::start_with(&registry.url(), &["--config", file.path().to_str().unwrap()], &[]).await;
    (registry, gateway)
}

#[tokio::test]
async fn redirects_carry_path_and_query_and_never_a_host_of_the_request() {
    let (_registry, gateway) = gateway().await;
    for (host, target, status, location) in [
        ("g", "/old/a%2Fb?x=1&y=%20", 308, "https://new.example/docs/a%2Fb?x=1&y=%20"),
        ("evil.example", "/old", 308, "https://new.example/docs"),
        ("evil.example", "/here/a", 307, "/a"),
        ("g", "/here//evil.example/a", 307, "/evil.example/a"),
        ("g", "/here", 307, "/"),
    ] {
        let answer = send(gateway.address, request("GET", target, &[("host", host)], "")).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, Some(location)), "{target}");
        let mut connection = http2::Connection::open(gateway.address).await.unwrap();
        let answer = connection.send(request("GET", target, &[], "")).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, Some(location)), "{target}");
    }
    // A backslash is a slash to browsers: it gets nowhere.
    let raw = b"GET /here/\\evil.example HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";
    assert!(raw_to_end(gateway.address, raw).await.starts_with("HTTP/1.1 400 "));
    let answer = send(gateway.address, request("GET", "/here/%5cevil.example", &[], "")).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_route_under_maintenance_answers_by_itself() {
    let (_registry, gateway) = gateway().await;
    let answer = gateway.get("/shop/cart").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "<h1>Back at noon</h1>"));
    assert_eq!(answer.header("retry-after"), Some("600"));
    assert_eq!(
        (answer.header("content-type"), answer.header("x-why")),
        (Some("text/html"), Some("maintenance"))
    );
    let robots = gateway.get("/robots.txt").await;
    assert_eq!((robots.status.as_u16(), robots.text().as_str()), (200, "User-agent: *\nDisallow: /\n"));
    assert_eq!(robots.header("content-type"), Some("text/plain; charset=utf-8"));
    let gone = gateway.get("/gone").await;
    assert_eq!((gone.status.as_u16(), gone.header("cache-control")), (204, Some("no-store")));
    assert_eq!(gone.header("content-length"), None);
    // HEAD: the same head, and the connection goes on.
    let mut connection = Connection::open(gateway.address).await.unwrap();
    let head = connection.send(request("HEAD", "/robots.txt", &[], "")).await.unwrap();
    assert_eq!((head.header("content-length"), head.body.len()), (Some("26"), 0));
    assert_eq!(connection.send(request("GET", "/robots.txt", &[], "")).await.unwrap().body.len(), 26);
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_taken_for_the_next_request() {
    let (_registry, gateway) = gateway().await;
    let head = "POST /shop HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n";
    let inner = "GET /robots.txt HTTP/1.1\r\nhost: g\r\n\r\n";
    let came = raw_to_end(gateway.address, format!("{head}{inner}").as_bytes()).await;
    assert!(came.starts_with("HTTP/1.1 503 ") && came.contains("connection: close\r\n"), "{came}");
    assert_eq!(came.matches("HTTP/1.1").count(), 1, "{came}");
}

#[tokio::test]
async fn operators_see_where_such_routes_lead() {
    let (_registry, gateway) = gateway().await;
    let table = get(gateway.admin, "/table").await.text();
    for text in ["a redirect (308) to https://new.example/docs{rest}{query}", "a fixed answer (503)"] {
        assert!(table.contains(text), "{text}: {table}");
    }
    let config = get(gateway.admin, "/config").await.json();
    let maintenance = &config["config"]["routes"][2]["action"]["answer"];
    assert_eq!((&maintenance["status"], &maintenance["body_bytes"]), (&503.into(), &21.into()), "{config}");
    let admin = gateway.admin.to_string();
    let ended =
        Program::run("vertice-gateway", &["explain", "--admin", &admin, "GET", "http://h/old/x"], &[]).await;
    assert!(ended.text.contains("goes to: a redirect (308) to https://new.example"), "{}", ended.text);
}
