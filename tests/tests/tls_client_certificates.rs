//! Clients that prove who they are: asked, believed or refused, and told to the service so that nobody can make it up.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{Answer, request};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::tls::{Authority, Client, Folder, counts, start_gateway};

const NAME: &str = "a.example";

struct System {
    ca: Authority,
    clients: Authority,
    gateway: Gateway,
    _folder: Folder,
    _stub: Stub,
    _registry: Registry,
}

async fn system(client_auth: &str) -> System {
    let (ca, clients, folder) = (Authority::new("servers"), Authority::new("clients"), Folder::default());
    ca.server(&[NAME]).put(&folder.certificates(), "a");
    let client_ca = folder.write("clients.pem", &clients.pem());
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let lines = format!("{}\nclient_ca = \"{client_ca}\"\nclient_auth = \"{client_auth}\"", folder.all());
    let gateway = start_gateway(&registry.url(), &folder.config(&lines, "")).await;
    System { ca, clients, gateway, _folder: folder, _stub: stub, _registry: registry }
}

impl System {
    /// A request that claims to come from an administrator, in every spelling.
    async fn ask(&self, client: &Client) -> Result<Answer, String> {
        let (mut connection, _) = client.connect(self.gateway.address, NAME).await?;
        let claims = [
            ("host", NAME),
            ("client-cert", ":c3Bvb2Y=:"),
            ("client-cert-chain", ":c3Bvb2Y=:"),
            ("Client_Cert", ":c3Bvb2Y=:"),
            ("X-Client-Cert-Subject", "CN=admin"),
            ("x_client_cert_subject", "CN=admin"),
            ("x-client-cert-san", "URI:spiffe://admin"),
            ("x-client-cert-fingerprint", "00"),
            ("x-client-cert-other", "admin"),
        ];
        connection.send(request("GET", "/v2/echo_service/x", &claims, "")).await.map_err(|error| error.0)
    }
}

/// Fields of the request that say who the client is, as the service saw them.
fn identity(answer: &Answer) -> Vec<(String, String)> {
    let echo = answer.json();
    let headers = echo["headers"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut found: Vec<_> = headers
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .filter(|(name, _)| name.replace('_', "-").contains("client-cert"))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn required_lets_in_who_proves_it_and_tells_the_service() {
    let system = system("required").await;
    let trusting = || system.ca.trusting();
    let client = trusting().showing(&system.clients.client("billing", "spiffe://maximus/billing"));
    let answer = system.ask(&client).await.unwrap();
    let seen = identity(&answer);
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["client-cert", "x-client-cert-fingerprint", "x-client-cert-san", "x-client-cert-subject"],
        "{seen:?}"
    );
    assert_eq!(seen[2].1, "URI:spiffe://maximus/billing");
    assert!(seen[3].1.contains("CN=billing"), "{seen:?}");
    assert!(!answer.text().contains("admin"), "{answer:?}");

    assert!(system.ask(&trusting()).await.is_err(), "no certificate");
    let stranger = Authority::new("strangers").client("admin", "spiffe://admin");
    assert!(system.ask(&trusting().showing(&stranger)).await.is_err(), "a certificate of somebody else's");
    for reason in ["no_client_certificate", "bad_client_certificate"] {
        let series = format!(
            "vertice_gateway_tls_handshake_failures_total{{listener=\"secure\",reason=\"{reason}\"}}"
        );
        counts(&system.gateway, &series, 1).await;
    }
}

#[tokio::test]
async fn optional_lets_in_who_has_none_without_an_identity() {
    let system = system("optional").await;
    let nobody = system.ask(&system.ca.trusting()).await.unwrap();
    assert_eq!(identity(&nobody), []);
    let client = system.ca.trusting().showing(&system.clients.client("billing", "spiffe://maximus/billing"));
    assert_eq!(identity(&system.ask(&client).await.unwrap()).len(), 4);
    let stranger = Authority::new("strangers").client("admin", "spiffe://admin");
    assert!(
        system.ask(&system.ca.trusting().showing(&stranger)).await.is_err(),
        "not believed is not nobody"
    );
}

#[tokio::test]
async fn a_resumed_session_keeps_its_identity() {
    let system = system("required").await;
    let client = system
        .ca
        .trusting()
        .showing(&system.clients.client("billing", "spiffe://maximus/billing"))
        .remembering();
    system.ask(&client).await.unwrap();
    let (_, seen) = client.connect(system.gateway.address, NAME).await.unwrap();
    assert!(seen.resumed);
    assert_eq!(identity(&system.ask(&client).await.unwrap()).len(), 4);
}
