//! A gateway with policies in front of one service that tells what it got.

use serde_json::Value;

use crate::http::{Answer, request, send};
use crate::stub::Stub;
use crate::system::{Gateway, Registry};
use crate::wait::{PATIENCE, eventually};

/// All of it.
#[derive(Debug)]
pub struct Guarded {
    /// `core_service`.
    pub stub: Stub,
    /// The registry.
    pub registry: Registry,
    /// The gateway.
    pub gateway: Gateway,
    /// Its configuration and whatever lies beside it.
    pub folder: tempfile::TempDir,
}

impl Guarded {
    /// With `config`, in which `{folder}` is a folder for files.
    pub async fn start(config: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, environment).await
    }

    /// As [`Guarded::start`], with files that are there already.
    pub async fn start_in(folder: tempfile::TempDir, config: &str, environment: &[(&str, &str)]) -> Self {
        let stub = Stub::start("core").await;
        let registry = Registry::start().await;
        registry.put("core_service", "core:1", &stub.url()).await;
        let file = folder.path().join("gateway.toml");
        let config = config.replace("{folder}", folder.path().to_str().unwrap());
        std::fs::write(&file, config).unwrap();
        let arguments = ["--config", file.to_str().unwrap()];
        let gateway = Gateway::start_with(&registry.url(), &arguments, environment).await;
        Self { stub, registry, gateway, folder }
    }

    /// GET with headers.
    pub async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.gateway.address, request("GET", target, headers, "")).await
    }

    /// The access log `access.log` in the folder, once `words` are all in it.
    pub async fn log_with(&self, words: &[&str]) -> String {
        let path = self.folder.path().join("access.log");
        eventually(PATIENCE, &format!("{words:?} in the access log"), async || {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            words.iter().all(|word| log.contains(word)).then_some(log)
        })
        .await
    }

    /// What the metric `name` with these labels says; `None`: it is not there.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let page = crate::http::get(self.gateway.admin, "/metrics").await.text();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }
}

/// The values of the field `name` that the service saw.
pub fn seen(answer: &Answer, name: &str) -> Vec<String> {
    let echo: Value = answer.json();
    let fields = echo["headers"].as_array().unwrap_or_else(|| panic!("no echo: {answer:?}")).iter();
    fields.filter(|field| field[0] == name).map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

/// Asserts that the gateway refused with `status` and `reason`.
pub fn assert_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.header("x-vertice-reason"), Some(reason), "{answer:?}");
    assert_eq!(answer.json()["reason"], reason);
}
