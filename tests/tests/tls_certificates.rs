//! Which certificate a client gets, and what happens when the files change.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use vertice_tests::http::{request, send};
use vertice_tests::stub::Stub;
use vertice_tests::system::{Gateway, Registry};
use vertice_tests::tls::{Authority, Folder, metric, replace, start_gateway};
use vertice_tests::wait::{PATIENCE, eventually};

const TARGET: &str = "/v2/echo_service/x";

struct System {
    ca: Authority,
    folder: Folder,
    gateway: Gateway,
    _stub: Stub,
    _registry: Registry,
}

/// A gateway with the pairs that `fill` puts into the folder.
async fn system(lines: &str, fill: impl FnOnce(&Authority, &Folder)) -> System {
    let (ca, folder) = (Authority::new("tests"), Folder::default());
    fill(&ca, &folder);
    let stub = Stub::start("echo").await;
    let registry = Registry::start().await;
    registry.put("echo_service", "echo:1", &stub.url()).await;
    let config = folder.config(&format!("{}\n{lines}", folder.all()), "");
    let gateway = start_gateway(&registry.url(), &config).await;
    System { ca, folder, gateway, _stub: stub, _registry: registry }
}

impl System {
    /// The certificate that a client which asks for `name` gets.
    async fn shown(&self, name: &str) -> Vec<u8> {
        let (_, seen) = self.ca.trusting().connect(self.gateway.address, name).await.unwrap();
        seen.certificate
    }

    /// Waits until `name` gets `certificate`.
    async fn shows(&self, name: &str, certificate: &[u8]) {
        eventually(PATIENCE, &format!("another certificate for {name}"), async || {
            (self.shown(name).await == certificate).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let mut pairs = Vec::new();
    let system = system("default = \"fallback.example\"", |ca, folder| {
        for (name, names) in [
            ("a", &["a.example.com"][..]),
            ("wild", &["*.example.com"]),
            ("z", &["fallback.example", "unknown.example.org"]),
        ] {
            let pair = ca.server(names);
            pair.put(&folder.certificates(), name);
            pairs.push(pair.der());
        }
    })
    .await;
    assert_eq!(system.shown("a.example.com").await, pairs[0]);
    assert_eq!(system.shown("b.example.com").await, pairs[1]);
    assert_eq!(system.shown("unknown.example.org").await, pairs[2]);
    let deeper = system.ca.trusting().connect(system.gateway.address, "x.b.example.com").await;
    assert!(deeper.is_err_and(|error| error.contains("not valid for name")), "a wildcard is one label");
    let answer = system.ca.trusting().get(system.gateway.address, "a.example.com", TARGET).await.unwrap();
    let told = answer.json()["headers"].to_string();
    assert!(told.contains("[\"x-forwarded-proto\",\"https\"]") && told.contains("proto=https"), "{told}");
}

#[tokio::test]
async fn changed_files_are_taken_up_while_connections_go_on() {
    let system = system("", |ca, folder| ca.server(&["a.example"]).put(&folder.certificates(), "a")).await;
    let (mut before, _) = system.ca.trusting().connect(system.gateway.address, "a.example").await.unwrap();
    let ask = || request("GET", TARGET, &[("host", "a.example")], "");
    assert_eq!(before.send(ask()).await.unwrap().status, 200);

    let (renewed, added) = (system.ca.server(&["a.example"]), system.ca.server(&["b.example"]));
    renewed.put(&system.folder.certificates(), "a");
    added.put(&system.folder.certificates(), "b");
    system.shows("a.example", &renewed.der()).await;
    system.shows("b.example", &added.der()).await;
    assert_eq!(before.send(ask()).await.unwrap().status, 200, "the connection from before goes on");
    assert!(
        metric(&system.gateway, "vertice_gateway_tls_swaps_total{listener=\"secure\",outcome=\"taken\"}")
            .await
            > Some(0.0)
    );
}

#[tokio::test]
async fn a_broken_pair_keeps_its_last_good_form_and_the_others_are_taken() {
    let (ca, folder) = (Authority::new("tests"), Folder::default());
    let first = ca.server(&["a.example"]);
    let system = {
        let pair = first.clone();
        system("", move |_, folder| pair.put(&folder.certificates(), "a")).await
    };
    drop(folder);
    // `first` is of another authority than the system's: what is shown is compared, not believed.
    let shown = async |name: &str| {
        ca.trusting().connect(system.gateway.address, name).await.map(|(_, seen)| seen.certificate)
    };
    assert_eq!(shown("a.example").await.unwrap(), first.der());
    // A certificate whose key is another's, and a good pair.
    let stranger = ca.server(&["a.example"]);
    replace(&system.folder.certificates().join("a.crt"), &stranger.cert);
    let good = ca.server(&["b.example"]);
    good.put(&system.folder.certificates(), "b");
    eventually(PATIENCE, "the good pair", async || {
        (shown("b.example").await.ok()? == good.der()).then_some(())
    })
    .await;
    assert_eq!(shown("a.example").await.unwrap(), first.der(), "the pair from before stays");
    let log = system.gateway.program.text();
    assert!(log.contains("a.key: is not the key of"), "{log}");
    // Repaired, it is taken.
    replace(&system.folder.certificates().join("a.key"), &stranger.key);
    eventually(PATIENCE, "the repaired pair", async || {
        (shown("a.example").await.ok()? == stranger.der()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reload_changes_tls_or_nothing() {
    let system = system("", |ca, folder| ca.server(&["a.example"]).put(&folder.certificates(), "a")).await;
    let reload = async |lines: &str| {
        system.folder.config(&format!("{}\n{lines}", system.folder.all()), "");
        let headers = [("host", "localhost")];
        send(system.gateway.admin, request("POST", "/config/reload", &headers, "")).await
    };
    let bad = reload("client_ca = \"/nowhere/ca.pem\"").await;
    assert_eq!(bad.status, 422, "{bad:?}");
    assert!(bad.text().contains("gateway.toml:6:13: /nowhere/ca.pem: cannot be opened"), "{bad:?}");
    let client = system.ca.trusting();
    assert!(client.get(system.gateway.address, "a.example", TARGET).await.is_ok(), "what ran goes on");

    let good = reload("min_version = \"1.3\"").await;
    assert_eq!(good.status, 200, "{good:?}");
    assert!(client.get(system.gateway.address, "a.example", TARGET).await.is_ok());
    assert!(client.tls12().get(system.gateway.address, "a.example", TARGET).await.is_err());
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_before_and_after() {
    let system = system("", |ca, folder| {
        ca.server(&["a.example"]).put(&folder.certificates(), "a");
        ca.expired(&["old.example"]).put(&folder.certificates(), "old");
    })
    .await;
    let of = |name: &str| {
        let file = system.folder.certificates().join(name);
        format!(
            "vertice_gateway_certificate_expiry_seconds{{listener=\"secure\",file=\"{}\"}}",
            file.display()
        )
    };
    assert!(metric(&system.gateway, &of("a.crt")).await > Some(0.0));
    assert!(metric(&system.gateway, &of("old.crt")).await < Some(0.0));
    let log = system.gateway.program.text();
    assert!(log.contains("old.crt: the chain is over since"), "{log}");
}
