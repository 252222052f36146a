//! Clients that come without TLS are sent to it, and those that came with it are told to stay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{get, request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::tls::{Authority, Folder, start_gateway};

fn config(registry: &str, stub: &str) -> String {
    format!(
        r#"
workers = 2
trusted_proxies = ["127.0.0.1"]
[[listener]]
address = "127.0.0.1:0"
https_redirect = {{ hosts = ["example.com", "*.example.com"], port = 8443 }}
hsts = "max-age=31536000; includeSubDomains"
[registry]
url = "{registry}"
[[service]]
name = "core_service"
fallback = ["{stub}"]
"#
    )
}

#[tokio::test]
async fn plain_clients_are_redirected_to_the_same_place_and_only_secure_ones_hear_of_hsts() {
    let (registry, stub) = (Registry::start().await, Stub::start("core").await);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config(&registry.url(), &stub.url())).unwrap();
    let gateway = Gateway::start_configured(file.path(), &[]).await;
    let asked = async |host: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("host", host)];
        headers.extend_from_slice(more);
        send(gateway.address, request("POST", "/v2/core_service/a?b=c", &headers, "")).await
    };
    for (host, location) in [
        ("example.com", "https://example.com:8443/v2/core_service/a?b=c"),
        ("A.Example.COM.:80", "https://a.example.com:8443/v2/core_service/a?b=c"),
    ] {
        let answer = asked(host, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (308, Some(location)), "{answer:?}");
        assert_eq!(answer.header("strict-transport-security"), None, "RFC 6797 7.2");
    }
    for host in ["evil.example", "notexample.com", "127.0.0.1"] {
        let answer = asked(host, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (421, None), "{answer:?}");
        assert_eq!(answer.header("x-vertice-reason"), Some("unknown_host"));
    }
    assert_eq!(stub.requests(), 0);

    // Its trusted proxy has ended TLS for it.
    for proto in ["https", "HTTPS , http"] {
        let answer = asked("example.com", &[("x-forwarded-proto", proto)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let hsts = answer.header("strict-transport-security");
        assert_eq!(hsts, Some("max-age=31536000; includeSubDomains"));
    }
    assert_eq!(asked("example.com", &[("x-forwarded-proto", "http, https")]).await.status, 308);

    let shown = get(gateway.admin, "/config").await.json();
    let listener = &shown["config"]["listeners"][0]["rules"];
    assert_eq!(listener["https_redirect"]["hosts"][1], "*.example.com", "{shown}");
    assert_eq!(listener["hsts"], "max-age=31536000; includeSubDomains", "{shown}");
}

#[tokio::test]
async fn an_answer_over_tls_says_hsts_whoever_made_it() {
    let (registry, ca, folder) = (Registry::start().await, Authority::new("tests"), Folder::default());
    ca.server(&["a.example"]).put(&folder.certificates(), "a");
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nhsts = \"max-age=60\"\ntls = {{ {} }}\n",
        folder.all()
    );
    let config = folder.write("gateway.toml", &text);
    let gateway = start_gateway(&registry.url(), &config).await;
    for target in ["/health", "/nowhere"] {
        let answer = ca.trusting().get(gateway.address, "a.example", target).await.unwrap();
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=60"), "{target}: {answer:?}");
    }
}
