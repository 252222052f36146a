//! Our programs with what a test wants to know of them: where they listen, and how a service is registered.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::process::Program;
use crate::wait::{PATIENCE, eventually};

/// What every write of the tests is allowed with.
pub const TOKEN: &str = "test-token";

/// The header that carries the token.
pub const TOKEN_HEADER: (&str, &str) = ("x-registry-token", TOKEN);

/// A running `vertice-registry`.
#[derive(Debug)]
pub struct Registry {
    /// The process.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Registry {
    /// On a free port, with [`TOKEN`].
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// At `listen`, with [`TOKEN`].
    pub async fn start_at(listen: &str) -> Self {
        let environment = [("REGISTRY_AUTH_TOKEN", TOKEN)];
        let mut program = Program::start("vertice-registry", &["run", "--listen", listen], &environment);
        let address = program.line("its address", |line| address_in(line, "listen")).await;
        Self { program, address }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Registers `instance` of `service` by one PUT.
    pub async fn put(&self, service: &str, instance: &str, url: &str) -> Answer {
        let target = format!("/v1/services/{service}/instances/{instance}");
        // The longest lease: a test is over before it ends.
        let body = json!({ "url": url, "ttl": 3600 });
        let answer = http::send_json(self.address, "PUT", &target, &[TOKEN_HEADER], &body).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer
    }

    /// As [`Registry::put`], with metadata.
    pub async fn put_with(&self, service: &str, instance: &str, url: &str, metadata: Value) -> Answer {
        let target = format!("/v1/services/{service}/instances/{instance}");
        let body = json!({ "url": url, "ttl": 3600, "metadata": metadata });
        let answer = http::send_json(self.address, "PUT", &target, &[TOKEN_HEADER], &body).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer
    }

    /// Registers `service` by the old POST.
    pub async fn post(&self, service: &str, url: &str) -> Answer {
        let body = json!({ "service_name": service, "endpoint": url });
        let answer = http::send_json(self.address, "POST", "/register", &[TOKEN_HEADER], &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// Removes an instance that [`Registry::put`] has registered with `registered` as the answer.
    pub async fn delete(&self, service: &str, instance: &str, registered: &Answer) {
        let generation = &registered.json()["generation"];
        let target = format!("/v1/services/{service}/instances/{instance}?generation={generation}");
        let answer = http::send(self.address, http::request("DELETE", &target, &[TOKEN_HEADER], "")).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
}

/// A running `vertice-gateway`.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub program: Program,
    /// Where clients come in.
    pub address: SocketAddr,
    /// Where operators look in.
    pub admin: SocketAddr,
}

impl Gateway {
    /// In front of the registry at `registry`, ready.
    pub async fn start(registry: &str) -> Self {
        Self::start_with(registry, &[], &[]).await
    }

    /// With more arguments and an environment, ready.
    pub async fn start_with(registry: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let gateway = Self::start_unready(registry, arguments, environment).await;
        gateway.ready().await;
        gateway
    }

    /// As [`Gateway::start_with`], without waiting for a first table.
    pub async fn start_unready(registry: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut all =
            vec!["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--registry", registry];
        if !arguments.contains(&"--workers") {
            all.extend(["--workers", "2"]);
        }
        all.extend_from_slice(arguments);
        Self::started(Program::start("vertice-gateway", &all, environment)).await
    }

    /// `program`, once it has said where it listens.
    pub async fn started(mut program: Program) -> Self {
        let admin = program.line("its admin address", |line| address_in(line, "admin")).await;
        let address = program
            .line("its address", |line| {
                let other = line.contains("admin") || line.contains("embedded");
                if other { None } else { address_in(line, "listen") }
            })
            .await;
        Self { program, address, admin }
    }

    /// With the configuration file `config` and its listeners, ready. [`Gateway::address`] is the last listener's.
    pub async fn start_configured(config: &std::path::Path, arguments: &[&str]) -> Self {
        let mut all = vec!["run", "--config", config.to_str().unwrap(), "--admin", "127.0.0.1:0"];
        all.extend_from_slice(arguments);
        let gateway = Self::started(Program::start("vertice-gateway", &all, &[])).await;
        gateway.ready().await;
        gateway
    }

    /// Where the listener `name` is.
    pub async fn listener(&mut self, name: &str) -> SocketAddr {
        let of_it = format!("listener=\"{name}\"");
        let pick = |line: &str| address_in(line, "listening").filter(|_| line.contains(&of_it));
        self.program.line("a listener's address", pick).await
    }

    /// With the text of a configuration file, a registry of its own, and `service`, called `stub_service`; ready. What the
    /// file is to say of its listener stands in `text` after `[[listener]]` and an address.
    pub async fn in_front_of(service: &str, text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fixed = format!(
            "[registry]\nembedded = \"127.0.0.1:0\"\n[[service]]\nname = \"stub_service\"\nfallback = [\"{service}\"]\n"
        );
        std::fs::write(file.path(), format!("{text}\n{fixed}")).unwrap();
        let workers = ["--workers", "2"];
        if text.contains("[[listener]]") {
            return Self::start_configured(file.path(), &workers).await;
        }
        let config = file.path().to_str().unwrap();
        let always = ["run", "--config", config, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let all: Vec<&str> = always.into_iter().chain(workers).collect();
        let gateway = Self::started(Program::start("vertice-gateway", &all, &[])).await;
        gateway.ready().await;
        gateway
    }

    /// Waits until the metric `name`, with its labels, is `value`.
    pub async fn counts(&self, name: &str, value: &str) {
        let line = format!("vertice_gateway_{name} {value}");
        eventually(PATIENCE, &line, async || {
            http::get(self.admin, "/metrics").await.text().lines().any(|said| said == line).then_some(())
        })
        .await;
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually(PATIENCE, "the gateway is ready", async || {
            (http::get(self.admin, "/ready").await.status == 200).then_some(())
        })
        .await;
    }

    /// GET through the gateway.
    pub async fn get(&self, target: &str) -> Answer {
        http::get(self.address, target).await
    }

    /// What `/services` shows of the health of `instance` of `service`; null while it is not in the table.
    pub async fn health_of(&self, service: &str, instance: &str) -> Value {
        let all = http::get(self.admin, "/services").await.json();
        let named = |list: &Value, key: &str, name: &str| {
            let list = list.as_array().cloned().unwrap_or_default();
            list.into_iter().find(|entry| entry[key] == name).unwrap_or_default()
        };
        let service = named(&all["services"], "name", service);
        named(&service["endpoints"], "instance", instance)["health"].clone()
    }

    /// Waits, at most `limit`, until the verdict on `instance` of `service` is `verdict`.
    pub async fn judges(&self, service: &str, instance: &str, verdict: &str, limit: Duration) {
        eventually(limit, &format!("{service}/{instance} is {verdict}"), async || {
            (self.health_of(service, instance).await["verdict"] == verdict).then_some(())
        })
        .await;
    }

    /// Waits, at most `limit`, until `/v2/{service}/` is answered by the stub that calls itself `stub`.
    pub async fn routes_to(&self, service: &str, stub: &str, limit: Duration) {
        let target = format!("/v2/{service}/ping");
        eventually(limit, &format!("{target} is answered by {stub}"), async || {
            let answer = self.get(&target).await;
            (answer.status == 200 && answer.json()["stub"] == stub).then_some(())
        })
        .await;
    }
}

/// The environment of a sidecar beside the service at `address`.
pub fn sidecar_environment(
    service: &str,
    address: SocketAddr,
    registry: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("SERVICE_NAME", service.to_owned()),
        ("SERVICE_HOST", address.ip().to_string()),
        ("SERVICE_PORT", address.port().to_string()),
        ("REGISTRY_URL", registry.to_owned()),
        ("REGISTRY_AUTH_TOKEN", TOKEN.to_owned()),
    ]
}

/// Starts a real `vertice-sidecar` with `environment`.
pub fn start_sidecar(environment: &[(&str, String)]) -> Program {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Program::start("vertice-sidecar", &[], &environment)
}

/// The address in a log line that has `word` in it: `the registry listens address=127.0.0.1:8888 ...`.
pub(crate) fn address_in(line: &str, word: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("address=").filter(|_| line.contains(word))?;
    rest.split([' ', ',', '"']).next()?.parse().ok()
}
