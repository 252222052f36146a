//! From which addresses clients may ask, and with which kinds of bodies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{Answer, raw_to_end, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::Gateway;

fn assert_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-vertice-reason")),
        (status, Some(reason)),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
}

#[tokio::test]
async fn addresses_that_are_not_allowed_or_denied_are_403_before_anything_else() {
    let text = r#"
trusted_proxies = ["127.0.0.1"]
[ip.office]
allow = ["10.0.0.0/8", "2001:db8::/32"]
deny = ["10.0.99.0/24"]
[cors.web]
origins = ["*"]
[[route]]
name = "office"
prefix = "/office"
service = "stub_service"
ip = "office"
cors = "web"
[[route]]
name = "open"
prefix = "/open"
service = "stub_service"
"#;
    let stub = Stub::start("stub").await;
    let gateway = Gateway::in_front_of(&stub.url(), text).await;
    let ask = async |target: &str, client: &str| {
        send(gateway.address, request("GET", target, &[("x-forwarded-for", client)], "")).await
    };
    let seen = stub.requests();
    for (client, admitted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::7", true),
        ("10.0.99.3", false),
        ("192.0.2.1", false),
        ("2001:db9::7", false),
        // A claim of the client's, before the address that the proxy saw.
        ("10.1.2.3, 192.0.2.1", false),
    ] {
        let answer = ask("/office/x", client).await;
        if admitted {
            assert_eq!(answer.status, 200, "{client}: {answer:?}");
        } else {
            assert_refused(&answer, 403, "address_denied");
        }
    }
    assert_eq!(stub.requests() - seen, 3);
    assert_eq!(ask("/open/x", "192.0.2.1").await.status, 200);
    let fields = [
        ("x-forwarded-for", "192.0.2.1"),
        ("origin", "https://a.org"),
        ("access-control-request-method", "GET"),
    ];
    let preflight = send(gateway.address, request("OPTIONS", "/office/x", &fields, "")).await;
    assert_refused(&preflight, 403, "address_denied");
    gateway.counts("own_answers_total{reason=\"address_denied\"}", "5").await;
}

#[tokio::test]
async fn a_listener_can_have_a_list_for_all_that_comes_in() {
    let text = r#"
[ip.nobody_here]
deny = ["127.0.0.0/8"]
[ip.all]
allow = ["127.0.0.0/8"]
[[listener]]
name = "open"
address = "127.0.0.1:0"
ip = "all"
[[listener]]
name = "closed"
address = "127.0.0.1:0"
ip = "nobody_here"
"#;
    let stub = Stub::start("stub").await;
    // Its address is the last listener's or the first's, as they come up: both are asked.
    let mut gateway = Gateway::in_front_of(&stub.url(), text).await;
    let mut at = async |name: &str| {
        let wanted = format!("listener=\"{name}\" address=");
        let pick = |line: &str| line.split_once(&wanted)?.1.split(' ').next()?.parse().ok();
        gateway.program.line("a listener", pick).await
    };
    let (open, closed): (std::net::SocketAddr, std::net::SocketAddr) = (at("open").await, at("closed").await);
    for target in ["/v2/stub_service/x", "/health", "/nothing"] {
        assert_refused(&send(closed, request("GET", target, &[], "")).await, 403, "address_denied");
    }
    assert_eq!(send(open, request("GET", "/v2/stub_service/x", &[], "")).await.status, 200);
    assert_eq!(send(open, request("GET", "/health", &[], "")).await.status, 200);
}

#[tokio::test]
async fn a_body_of_another_kind_is_415_and_one_that_is_not_there_is_of_none() {
    let text = r#"
[[route]]
name = "api"
prefix = "/api"
service = "stub_service"
content = { types = ["application/json", "image/*"] }
"#;
    let stub = Stub::start("stub").await;
    let gateway = Gateway::in_front_of(&stub.url(), text).await;
    let post = async |headers: &[(&str, &str)], body: &str| {
        send(gateway.address, request("POST", "/api/x", headers, body.to_owned())).await
    };
    let kind = "content-type";
    for taken in ["application/json", "Application/JSON; charset=utf-8", "image/png"] {
        assert_eq!(post(&[(kind, taken)], "{}").await.status, 200, "{taken}");
    }
    let seen = stub.requests();
    for refused in [
        &[(kind, "text/plain")][..],
        &[],
        &[(kind, "application/json"), (kind, "text/plain")],
        &[(kind, "application/json5")],
    ] {
        let answer = post(refused, "{}").await;
        assert_refused(&answer, 415, "content_type");
        assert_eq!(answer.header("accept"), Some("application/json, image/*"), "{answer:?}");
    }
    let chunked =
        "POST /api/x HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n";
    let answer = raw_to_end(gateway.address, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "a body that may come: {answer}");
    assert_eq!(stub.requests(), seen);
    assert_eq!(post(&[], "").await.status, 200);
    assert_eq!(send(gateway.address, request("GET", "/api/x", &[], "")).await.status, 200);
}
