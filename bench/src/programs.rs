//! Our three programs, started as an operator would.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::child::Child;
use crate::connection::Connection;

/// The longest lease that may be asked for: no measurement lasts as long, so nothing expires while it runs.
const TTL_S: u32 = 3600;

/// A free port of loopback.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

/// A running registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Of the embedded registry, if it has one.
    pub(crate) registry: Option<SocketAddr>,
}

impl Programs {
    /// The programs in `folder`, which must be there.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, String> {
        let folder = fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for name in ["vertice-gateway", "vertice-registry", "vertice-sidecar"] {
            if !folder.join(name).is_file() {
                return Err(format!("{name} is not in {}: `cargo xtask bench` builds it", folder.display()));
            }
        }
        Ok(Self { folder })
    }

    /// The path of the sidecar.
    pub(crate) fn sidecar(&self) -> PathBuf {
        self.folder.join("vertice-sidecar")
    }

    /// A registry on a free port of loopback, without tokens.
    pub(crate) async fn start_registry(&self) -> Result<Registry, String> {
        self.start_registry_at(ANY, &[]).await
    }

    /// The same at `listen`, with `more` arguments.
    pub(crate) async fn start_registry_at(
        &self,
        listen: SocketAddr,
        more: &[&str],
    ) -> Result<Registry, String> {
        let listen = listen.to_string();
        let arguments = [&["run", "--listen", &listen], more].concat();
        let mut child = Child::start(&self.folder.join("vertice-registry"), &arguments, &[])?;
        let address =
            child.line("where it listens", |line| address_after(line, "the registry listens")).await?;
        Ok(Registry { child, address })
    }

    /// A sidecar that registers `instance` of `service` at `registry` and renews it every two seconds.
    pub(crate) fn start_sidecar(
        &self,
        (service, instance): (&str, &str),
        at: SocketAddr,
        registry: SocketAddr,
    ) -> Result<Child, String> {
        let (host, port) = (at.ip().to_string(), at.port().to_string());
        let registry = format!("http://{registry}");
        let environment = [
            ("SERVICE_NAME", service),
            ("SERVICE_HOST", &host),
            ("SERVICE_PORT", &port),
            ("INSTANCE_ID", instance),
            ("REGISTRY_URL", &registry),
            ("HEARTBEAT_INTERVAL", "2"),
        ];
        Child::start(&self.sidecar(), &[""; 0], &environment)
    }

    /// A gateway with two workers on free ports of loopback, in front of `registry` or else of an embedded one, ready.
    pub(crate) async fn start_gateway(
        &self,
        registry: Option<SocketAddr>,
        config: Option<&Path>,
    ) -> Result<Gateway, String> {
        let config = config.map(|path| path.display().to_string());
        let more: Vec<&str> = config.iter().flat_map(|path| ["--config", path]).collect();
        ready(self.launch_gateway(ANY, registry, &more).await?).await
    }

    /// The same at the listener of `config`, in front of an embedded registry.
    pub(crate) async fn start_gateway_as_configured(&self, config: &Path) -> Result<Gateway, String> {
        ready(self.launch(None, &["--config", &config.display().to_string()]).await?).await
    }

    /// The same at `listen`, with `more` arguments; not waited for beyond that it listens.
    pub(crate) async fn launch_gateway(
        &self,
        listen: SocketAddr,
        registry: Option<SocketAddr>,
        more: &[&str],
    ) -> Result<Gateway, String> {
        let listen = listen.to_string();
        self.launch(registry, &[&["--listen", &listen], more].concat()).await
    }

    async fn launch(&self, registry: Option<SocketAddr>, more: &[&str]) -> Result<Gateway, String> {
        let place = registry.map(|address| format!("http://{address}"));
        let place = match &place {
            Some(url) => ["--registry", url],
            None => ["--embedded-registry", "127.0.0.1:0"],
        };
        let always = ["run", "--admin", "127.0.0.1:0", "--workers", "2"];
        let arguments = [&always[..], &place[..], more].concat();
        let mut child = Child::start(&self.folder.join("vertice-gateway"), &arguments, &[])?;
        let admin =
            child.line("where its admin listens", |line| address_after(line, "admin listening")).await?;
        let address =
            child.line("where it listens", |line| address_after(line, "listening listener=")).await?;
        let embedded = "embedded registry listening";
        let registry = match registry {
            Some(_) => None,
            None => {
                Some(child.line("where its registry listens", |line| address_after(line, embedded)).await?)
            }
        };
        Ok(Gateway { child, address, admin, registry })
    }
}

async fn ready(gateway: Gateway) -> Result<Gateway, String> {
    until("the gateway is ready", async || {
        let mut connection = Connection::open(gateway.admin).await?;
        Ok(connection.get("/ready").await?.status == 200)
    })
    .await?;
    Ok(gateway)
}

impl Gateway {
    /// The generation of its table, by its own word.
    pub(crate) async fn generation(&self) -> Result<u64, String> {
        let mut connection = Connection::open(self.admin).await?;
        let answer = connection.get("/table").await?;
        let table: Value = serde_json::from_slice(answer.body).map_err(|error| format!("/table: {error}"))?;
        table.get("generation").and_then(Value::as_u64).ok_or_else(|| "/table names no generation".into())
    }

    /// What it says of its registry: `registry` of `/gateway/status`.
    pub(crate) async fn registry_status(&self) -> Result<Value, String> {
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.get("/gateway/status").await?;
        let status: Value =
            serde_json::from_slice(answer.body).map_err(|error| format!("/gateway/status: {error}"))?;
        status.get("registry").cloned().ok_or_else(|| "/gateway/status names no registry".into())
    }
}

/// The request that registers `instance` of `service` at `url`.
pub(crate) fn registration(service: &str, instance: &str, url: &str) -> Vec<u8> {
    // One incarnation: all of these are one process that moves, not several that fight over the instance.
    let body = json!({ "url": url, "ttl": TTL_S, "incarnation": 1 }).to_string();
    format!(
        "PUT /v1/services/{service}/instances/{instance} HTTP/1.1\r\nhost: registry\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Asks `holds` again and again until it says yes, for at most ten seconds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> Result<bool, String>) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = holds().await;
        if answer == Ok(true) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let reason = answer.err().map_or(String::new(), |error| format!(": {error}"));
            return Err(format!("waited in vain until {what}{reason}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The address in a log line that has `words` in it: `the registry listens address=127.0.0.1:8888 ...`.
fn address_after(line: &str, words: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(words)?.1.split_once("address=")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_the_lines_that_name_them() {
        let line = " INFO vertice_gateway::cli: listening listener=\"127.0.0.1:0\" address=127.0.0.1:4711";
        assert_eq!(address_after(line, "listening listener="), "127.0.0.1:4711".parse().ok());
        assert_eq!(address_after(line, "admin listening"), None);
        let line = " INFO vertice_registry: the registry listens address=127.0.0.1:1 admin=None";
        assert_eq!(address_after(line, "the registry listens"), "127.0.0.1:1".parse().ok());
    }
}
