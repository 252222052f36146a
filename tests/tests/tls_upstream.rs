//! Services with an https URL: verified by default, by an authority of their own, with a name of their own, and shown who
//! the gateway is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::tls::{Authority, Folder, replace};
use vertice_tests::wait::PATIENCE;

/// A stub with the certificate that `tls` shows, registered by its address, and a gateway whose `[[service]]` says `lines`.
async fn system(folder: &Folder, tls: Arc<rustls::ServerConfig>, lines: &str) -> (Stub, Registry, Gateway) {
    let stub = Stub::with_tls("secure", tls).await;
    let registry = Registry::start().await;
    let url = stub.url().replace("http://", "https://");
    registry.put("secure_service", "secure:1", &url).await;
    let config = folder.write("gateway.toml", lines);
    let gateway = Gateway::start_with(&registry.url(), &["--config", &config], &[]).await;
    (stub, registry, gateway)
}

fn service(lines: &str) -> String {
    format!("[[service]]\nname = \"secure_service\"\n[service.tls]\n{lines}\n")
}

#[tokio::test]
async fn an_own_authority_is_believed_and_the_name_can_be_said() {
    let (ca, folder) = (Authority::new("services"), Folder::default());
    let file = folder.write("ca.pem", &ca.pem());
    let lines = service(&format!("ca = \"{file}\"\nserver_name = \"secure.internal\""));
    let (stub, _registry, gateway) = system(&folder, ca.acceptor(&["secure.internal"], None), &lines).await;
    gateway.routes_to("secure_service", "secure", PATIENCE).await;
    for _ in 0..5 {
        assert_eq!(gateway.get("/v2/secure_service/x").await.status, 200);
    }
    gateway.judges("secure_service", "secure:1", "good", PATIENCE).await;
    assert!(stub.health_checks() > 0, "health checks speak TLS, too");
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_502_with_its_reason() {
    let (ca, folder) = (Authority::new("services"), Folder::default());
    let file = folder.write("ca.pem", &ca.pem());
    let wrong_name = service(&format!("ca = \"{file}\"\nserver_name = \"another.internal\""));
    let other_authority = service("server_name = \"secure.internal\"");
    for lines in [wrong_name, other_authority] {
        let (_stub, _registry, gateway) =
            system(&folder, ca.acceptor(&["secure.internal"], None), &lines).await;
        let answer = gateway.get("/v2/secure_service/x").await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["reason"].as_str()),
            (502, Some("upstream_certificate"))
        );
        assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("internal\""), "{answer:?}");
        gateway.judges("secure_service", "secure:1", "failing", PATIENCE).await;
        let log = gateway.program.text();
        assert!(
            log.contains("no TLS connection to a service") && log.contains("invalid peer certificate"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn http2_is_spoken_to_a_service_that_agrees_to_it_and_not_to_another() {
    let (ca, folder) = (Authority::new("services"), Folder::default());
    let lines = format!("[upstream_tls]\nca = \"{}\"\n", folder.write("ca.pem", &ca.pem()));
    let registry = Registry::start().await;
    let mut stubs = Vec::new();
    for (service, alpn) in [("agrees_service", "h2"), ("refuses_service", "http/1.1")] {
        let mut tls = rustls::ServerConfig::clone(&ca.acceptor(&["localhost", "127.0.0.1"], None));
        tls.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stub = Stub::with_tls("secure", Arc::new(tls)).await;
        let url = stub.url().replace("http://", "https://");
        registry.put_with(service, "secure:1", &url, serde_json::json!({ "protocol": "h2" })).await;
        stubs.push(stub);
    }
    let config = folder.write("gateway.toml", &lines);
    let gateway = Gateway::start_with(&registry.url(), &["--config", &config], &[]).await;
    gateway.routes_to("agrees_service", "secure", PATIENCE).await;
    assert_eq!(gateway.get("/v2/agrees_service/x").await.json()["version"], "HTTP/2.0");
    let answer = gateway.get("/v2/refuses_service/x").await;
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (502, Some("upstream_tls")));
}

#[tokio::test]
async fn a_service_that_speaks_no_tls_is_502_with_its_reason() {
    let folder = Folder::default();
    let stub = Stub::start("plain").await;
    let registry = Registry::start().await;
    registry.put("plain_service", "plain:1", &stub.url().replace("http://", "https://")).await;
    let config = folder.write("gateway.toml", "[health]\nactive = false\n");
    let gateway = Gateway::start_with(&registry.url(), &["--config", &config], &[]).await;
    let answer = gateway.get("/v2/plain_service/x").await;
    assert_eq!((answer.status.as_u16(), answer.json()["reason"].as_str()), (502, Some("upstream_tls")));
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_and_takes_up_a_new_one() {
    let (ca, clients, folder) = (Authority::new("services"), Authority::new("gateways"), Folder::default());
    let file = folder.write("ca.pem", &ca.pem());
    let stranger = Authority::new("strangers").client("gateway", "spiffe://gateway");
    let (cert, key) = (folder.write("gw.pem", &stranger.cert), folder.write("gw.key", &stranger.key));
    let lines = service(&format!(
        "ca = \"{file}\"\nserver_name = \"secure.internal\"\nclient_cert = \"{cert}\"\nclient_key = \"{key}\""
    ));
    let (_stub, _registry, gateway) =
        system(&folder, ca.acceptor(&["secure.internal"], Some(&clients)), &lines).await;
    assert_eq!(gateway.get("/v2/secure_service/x").await.status, 502, "the service does not believe it");
    let known = clients.client("gateway", "spiffe://gateway");
    replace(cert.as_ref(), &known.cert);
    replace(key.as_ref(), &known.key);
    gateway.routes_to("secure_service", "secure", PATIENCE).await;
}

#[tokio::test]
async fn who_asks_not_to_verify_is_warned_and_served() {
    let (ca, folder) = (Authority::new("services"), Folder::default());
    let (_stub, _registry, gateway) =
        system(&folder, ca.acceptor(&["secure.internal"], None), "[upstream_tls]\nverify = false\n").await;
    gateway.routes_to("secure_service", "secure", PATIENCE).await;
    assert!(gateway.program.text().contains("verify = false"));
}
