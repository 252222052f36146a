//! What browsers are told about pages of other origins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{Answer, request, send};
use vertice_tests::http2;
use vertice_tests::scripted::Scripted;
use vertice_tests::stub::Stub;
use vertice_tests::system::Gateway;

const PAGE: (&str, &str) = ("origin", "https://app.example.com");
const EVIL: (&str, &str) = ("origin", "https://app.example.com.evil.org");

const CONFIG: &str = r#"
[cors.web]
origins = ["https://app.example.com", "https://*.example.org", "http://localhost:5173"]
methods = ["GET", "PUT"]
headers = ["x-api-key"]
expose = ["x-request-id"]
credentials = true

[cors.open]
origins = ["*"]

[[route]]
name = "web"
prefix = "/web"
methods = ["GET", "PUT"]
service = "stub_service"
cors = "web"

[[route]]
name = "open"
prefix = "/open"
service = "stub_service"
cors = "open"

[[route]]
name = "own"
prefix = "/own"
service = "stub_service"

[[route]]
name = "gone"
prefix = "/gone"
service = "gone_service"
cors = "web"
"#;

fn cors_fields(answer: &Answer) -> Vec<String> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let named = answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    let mut fields: Vec<_> = named.map(|(name, value)| format!("{name}: {}", text(value))).collect();
    fields.sort();
    fields
}

fn varies(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|value| value.to_str().unwrap().contains("Origin"))
}

#[tokio::test]
async fn a_preflight_is_answered_here_and_the_service_hears_nothing_of_it() {
    let stub = Stub::start("stub").await;
    let gateway = Gateway::in_front_of(&stub.url(), CONFIG).await;
    let seen = stub.requests();
    // The route takes GET and PUT: it is found by the method that is announced.
    let asked =
        [PAGE, ("access-control-request-method", "PUT"), ("access-control-request-headers", "x-api-key")];
    let preflight = || request("OPTIONS", "/web/x", &asked, "");
    let mut connection = http2::Connection::open(gateway.address).await.unwrap();
    for answer in [send(gateway.address, preflight()).await, connection.send(preflight()).await.unwrap()] {
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{answer:?}");
        assert_eq!(
            cors_fields(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-api-key",
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: https://app.example.com",
                "access-control-max-age: 600",
            ]
        );
        assert!(varies(&answer), "{answer:?}");
    }
    let evil = [EVIL, ("access-control-request-method", "PUT")];
    let answer = send(gateway.address, request("OPTIONS", "/web/x", &evil, "")).await;
    assert_eq!((answer.status.as_u16(), cors_fields(&answer)), (204, vec![]), "{answer:?}");
    assert!(varies(&answer), "{answer:?}");
    assert_eq!(stub.requests(), seen);
    gateway.counts("cors_preflights_total", "3").await;
    gateway.counts("cors_origins_refused_total", "1").await;
}

#[tokio::test]
async fn what_is_no_preflight_or_not_ours_goes_to_the_service() {
    let stub = Stub::start("stub").await;
    let gateway = Gateway::in_front_of(&stub.url(), CONFIG).await;
    let asked = [PAGE, ("access-control-request-method", "PUT")];
    // A route without `cors`: its service answers preflights by itself.
    let answer = send(gateway.address, request("OPTIONS", "/own/x", &asked, "")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["method"].as_str()), (200, Some("OPTIONS")));
    // OPTIONS that announces nothing is a request like any other.
    let answer = send(gateway.address, request("OPTIONS", "/open/x", &[PAGE], "")).await;
    assert_eq!((answer.status.as_u16(), answer.json()["method"].as_str()), (200, Some("OPTIONS")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    // The method that is announced has no route.
    let asked = [PAGE, ("access-control-request-method", "DELETE")];
    let answer = send(gateway.address, request("OPTIONS", "/web/x", &asked, "")).await;
    assert_eq!(answer.status, 404, "{answer:?}");
}

#[tokio::test]
async fn the_gateway_speaks_for_the_service() {
    let said = "HTTP/1.1 200 OK\r\naccess-control-allow-origin: https://evil.org\r\naccess-control-allow-credentials: true\r\n\
                access-control-expose-headers: x-secret\r\nvary: accept\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
    let service = Scripted::start("\r\n\r\n", said).await;
    let gateway = Gateway::in_front_of(&service.url, CONFIG).await;
    let ask = async |headers: &[(&str, &str)]| {
        let answer = send(gateway.address, request("GET", "/web/x", headers, "")).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"), "{answer:?}");
        assert!(varies(&answer), "{answer:?}");
        cors_fields(&answer)
    };
    for origin in ["https://app.example.com", "https://a.b.example.org", "http://localhost:5173"] {
        let fields = ask(&[("origin", origin)]).await;
        assert_eq!(
            fields,
            [
                "access-control-allow-credentials: true".to_owned(),
                format!("access-control-allow-origin: {origin}"),
                "access-control-expose-headers: x-request-id".to_owned(),
            ]
        );
    }
    // As browsers expect it: an answer that the page may not read.
    for headers in [&[EVIL][..], &[("origin", "null")], &[PAGE, PAGE], &[]] {
        assert_eq!(ask(headers).await, Vec::<String>::new(), "{headers:?}");
    }
    // Without `cors` what the service says goes through.
    let answer = send(gateway.address, request("GET", "/own/x", &[PAGE], "")).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://evil.org"), "{answer:?}");
}

#[tokio::test]
async fn a_page_may_read_the_errors_that_the_gateway_makes_itself() {
    let stub = Stub::start("stub").await;
    let gateway = Gateway::in_front_of(&stub.url(), CONFIG).await;
    let answer = send(gateway.address, request("GET", "/gone/x", &[PAGE], "")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"), "{answer:?}");
}
