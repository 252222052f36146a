//! The operator's commands: each is a call or two to a running registry, and a few lines for people.

mod call;
mod table;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use vertice_config::{Env, Secret, registry};
use vertice_registry_api::barrier::BarrierAnswer;
use vertice_registry_api::{InstanceId, ServiceName};

use call::{Call, Registry};

/// Which registry, and who asks.
#[derive(Clone, Debug, Args)]
pub struct RegistryFlags {
    /// The registry to talk to.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8888")]
    pub registry: String,
    /// The token, read from this file; else from REGISTRY_AUTH_TOKEN or the file in REGISTRY_AUTH_TOKEN_FILE.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Which instance.
#[derive(Clone, Debug, Args)]
pub struct InstanceFlags {
    /// The service's name.
    #[arg(value_parser = |text: &str| ServiceName::parse(text).map_err(|error| error.0))]
    pub service: ServiceName,
    /// The instance's id, as `list` shows it.
    #[arg(value_parser = |text: &str| InstanceId::parse(text).map_err(|error| error.0))]
    pub instance: InstanceId,
    #[command(flatten)]
    #[allow(missing_docs, reason = "its fields have theirs, and this would stand in the help")]
    pub registry: RegistryFlags,
}

/// What an operator says of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverrideWord {
    /// It takes requests, whatever its owner says.
    Up,
    /// It takes none.
    Down,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// The owner's word counts again.
    Clear,
}

/// A command for a running registry.
#[derive(Clone, Debug)]
pub enum Command {
    /// Show what is registered.
    List {
        /// Only this one.
        service: Option<ServiceName>,
        /// As the registry answers.
        json: bool,
        /// Where.
        registry: RegistryFlags,
    },
    /// Override with draining and wait for the gateways.
    Drain {
        /// Which.
        instance: InstanceFlags,
        /// Seconds to wait.
        timeout_s: u32,
    },
    /// Override.
    Override {
        /// Which.
        instance: InstanceFlags,
        /// With what.
        word: OverrideWord,
    },
    /// Remove.
    Remove(InstanceFlags),
    /// End self-preservation.
    Release(RegistryFlags),
}

/// How a command that reached the registry ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it should; what to print.
    Well(String),
    /// It was done, but not everybody has applied it; what to print.
    Partly(String),
}

/// Does `command`; the error is what to print.
pub async fn run(command: Command, env: &Env) -> Result<Ended, String> {
    match command {
        Command::List { service, json, registry } => list(service, json, &connect(&registry, env)?).await,
        Command::Drain { instance, timeout_s } => drain(&instance, timeout_s, env).await,
        Command::Override { instance, word } => {
            let registry = connect(&instance.registry, env)?;
            set_override(&registry, &instance, word).await?;
            let InstanceFlags { service, instance, .. } = instance;
            Ok(Ended::Well(match word {
                OverrideWord::Clear => format!("{service} {instance}: the owner's word counts again\n"),
                OverrideWord::Up | OverrideWord::Down | OverrideWord::Draining => {
                    format!("{service} {instance}: {} until it is cleared or the instance goes\n", wire(word))
                }
            }))
        }
        Command::Remove(instance) => remove(&instance, env).await,
        Command::Release(registry) => release(&connect(&registry, env)?).await,
    }
}

fn connect(flags: &RegistryFlags, env: &Env) -> Result<Registry, String> {
    let token = match &flags.token_file {
        None => registry::single_token(env).map_err(|error| error.to_string())?,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("--token-file {} cannot be read: {error}", path.display()))?;
            Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
    };
    Registry::at(&flags.registry, token)
}

async fn list(service: Option<ServiceName>, json: bool, registry: &Registry) -> Result<Ended, String> {
    let path = match &service {
        None => "/v1/leases".to_owned(),
        Some(service) => format!("/v1/leases?service={service}"),
    };
    let body = registry.call(Call::get(path)).await?;
    if json {
        return Ok(Ended::Well(format!("{body}\n")));
    }
    Ok(Ended::Well(table::leases(&body)))
}

async fn set_override(
    registry: &Registry,
    which: &InstanceFlags,
    word: OverrideWord,
) -> Result<Value, String> {
    let value = if word == OverrideWord::Clear { Value::Null } else { wire(word).into() };
    registry.call(Call::new("PATCH", path(which), Some(json!({ "override": value })))).await
}

async fn drain(which: &InstanceFlags, timeout_s: u32, env: &Env) -> Result<Ended, String> {
    let registry = connect(&which.registry, env)?;
    let answer = set_override(&registry, which, OverrideWord::Draining).await?;
    let revision = answer.get("revision").and_then(Value::as_u64).unwrap_or_default();
    let wait = Call::get(format!("/v1/barrier?revision={revision}&timeout={timeout_s}")).lasting(timeout_s);
    let barrier: BarrierAnswer = serde_json::from_value(registry.call(wait).await?)
        .map_err(|error| format!("the registry's answer about its gateways is not one: {error}"))?;
    let InstanceFlags { service, instance, .. } = which;
    let BarrierAnswer { applied, total, missing } = barrier;
    let said = format!("{service} {instance}: draining; {applied} of {total} gateways send it nothing new\n");
    if missing.is_empty() {
        return Ok(Ended::Well(said));
    }
    Ok(Ended::Partly(format!("{said}still missing after {timeout_s} s: {}\n", missing.join(", "))))
}

async fn remove(which: &InstanceFlags, env: &Env) -> Result<Ended, String> {
    let registry = connect(&which.registry, env)?;
    let answer = registry.call(Call::new("DELETE", format!("{}?by=operator", path(which)), None)).await?;
    let InstanceFlags { service, instance, .. } = which;
    if answer.get("removed").and_then(Value::as_bool) != Some(true) {
        return Err(format!("{service} {instance} is not registered"));
    }
    Ok(Ended::Well(format!(
        "{service} {instance}: removed. If its owner still runs, it registers again with its next heartbeat; \
         `override {service} {instance} down` keeps it away\n"
    )))
}

async fn release(registry: &Registry) -> Result<Ended, String> {
    let answer = registry.call(Call::new("POST", "/v1/release".to_owned(), None)).await?;
    let stale = answer.get("stale").and_then(Value::as_u64).unwrap_or_default();
    let released = answer.get("released").and_then(Value::as_bool) == Some(true);
    Ok(Ended::Well(if released {
        format!("self-preservation is over: {stale} stale instances go now, 1 % of all per second at most\n")
    } else {
        "self-preservation is not on: there is nothing to release\n".to_owned()
    }))
}

fn path(which: &InstanceFlags) -> String {
    format!("/v1/services/{}/instances/{}", which.service, which.instance)
}

fn wire(word: OverrideWord) -> &'static str {
    match word {
        OverrideWord::Up => "up",
        OverrideWord::Down => "down",
        OverrideWord::Draining => "draining",
        OverrideWord::Clear => "clear",
    }
}
