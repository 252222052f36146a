//! The command line of `vertice-registry`, and settings out of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use ipnet::IpNet;
use vertice_config::{Env, registry};
use vertice_registry_api::ServiceName;

use crate::auth::Auth;
use crate::operator::{self, InstanceFlags, OverrideWord, RegistryFlags};
use crate::redis::{RedisSettings, StoreAddress};
use crate::settings::Settings;
use crate::store::StoreLimits;

/// The service registry: services register here, gateways watch it.
#[derive(Debug, Parser)]
#[command(name = "vertice-registry", version, after_help = ENVIRONMENT)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const ENVIRONMENT: &str = "\
Environment:
  REGISTRY_AUTH_TOKEN       one token for all names and all writes; reads stay open
  REGISTRY_AUTH_TOKEN_FILE  the same, read from a file
  REDIS_PASSWORD            for --store redis://...; or REDIS_PASSWORD_FILE
  RUST_LOG is not read; logs go to standard error.
Without a token (these or --tokens) the registry listens on loopback only, unless --insecure.";

/// What the registry can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT.
    #[command(after_help = ENVIRONMENT)]
    Run(RunFlags),
    /// Show what is registered, with ages.
    #[command(after_help = OPERATOR_HELP)]
    List {
        /// Only this service.
        #[arg(value_parser = |text: &str| ServiceName::parse(text).map_err(|error| error.0))]
        service: Option<ServiceName>,
        /// Print what the registry answers, for scripts.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs, reason = "its fields have theirs")]
        registry: RegistryFlags,
    },
    /// Let an instance finish what it has, and wait until no gateway sends it anything new.
    #[command(after_help = OPERATOR_HELP)]
    Drain {
        #[command(flatten)]
        #[allow(missing_docs, reason = "its fields have theirs")]
        instance: InstanceFlags,
        /// Seconds to wait for the gateways, 60 at most.
        #[arg(long = "timeout", value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=60))]
        timeout_s: u32,
    },
    /// Set a status that wins over the owner's word, or clear it.
    #[command(after_help = OPERATOR_HELP)]
    Override {
        #[command(flatten)]
        #[allow(missing_docs, reason = "its fields have theirs")]
        instance: InstanceFlags,
        /// The status.
        #[arg(value_enum)]
        word: OverrideWord,
    },
    /// Remove an instance whose owner is gone.
    #[command(after_help = OPERATOR_HELP)]
    Remove(InstanceFlags),
    /// End self-preservation: what is stale goes.
    #[command(after_help = OPERATOR_HELP)]
    Release(RegistryFlags),
}

impl Command {
    /// The flags of `run`, or what to ask a running registry.
    pub fn split(self) -> Result<RunFlags, operator::Command> {
        Err(match self {
            Self::Run(flags) => return Ok(flags),
            Self::List { service, json, registry } => operator::Command::List { service, json, registry },
            Self::Drain { instance, timeout_s } => operator::Command::Drain { instance, timeout_s },
            Self::Override { instance, word } => operator::Command::Override { instance, word },
            Self::Remove(instance) => operator::Command::Remove(instance),
            Self::Release(registry) => operator::Command::Release(registry),
        })
    }
}

const OPERATOR_HELP: &str = "\
Exit code: 0 done, 1 not done, 2 not understood, 3 done, but not every gateway has applied it.
Changes want a token with the verb admin; they are in the registry's log, in audit.jsonl and under GET /v1/audit.";

/// The flags of `run`.
#[derive(Clone, Debug, Parser)]
pub struct RunFlags {
    /// Where clients come in; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    pub listen: SocketAddr,
    /// Where the registrations are kept: `memory` (kept on disk with --state-dir), or with other replicas on Redis,
    /// `redis://[:password@]host[:port][/db]`, or where Sentinels say that it is,
    /// `redis+sentinel://[:password@]host[:port],.../master-name[/db]`.
    // A text here, because clap shows a value that it refuses, and this one may have a password.
    #[arg(long, value_name = "STORE", default_value = MEMORY)]
    pub store: String,
    /// Read and write the keys of the original registry on that Redis as well.
    #[arg(long)]
    pub redis_legacy: bool,
    /// Keep registrations in this directory, so that they survive a restart; without it: in memory only.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Where operators look in (/live, /ready, /metrics); without it: nowhere.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Tokens with names and verbs, a TOML file of [[token]] tables; reads need a token then too.
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Run without tokens on an address that others can reach.
    #[arg(long)]
    pub insecure: bool,
    /// Accept endpoints with an address only in this network; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub allow_network: Vec<IpNet>,
    /// Accept endpoints with a name only under this suffix; may be repeated.
    #[arg(long, value_name = "SUFFIX")]
    pub allow_suffix: Vec<String>,
}

const MEMORY: &str = "memory";

/// The Redis that the flags mean, if they mean one.
fn redis(flags: &RunFlags, env: &Env) -> Result<Option<RedisSettings>, String> {
    if flags.store == MEMORY {
        let legacy = "--redis-legacy goes with --store redis://... only";
        return if flags.redis_legacy { Err(legacy.into()) } else { Ok(None) };
    }
    let address = StoreAddress::parse(&flags.store).map_err(|why| format!("--store: {why}"))?;
    if let Some(dir) = &flags.state_dir {
        return Err(format!(
            "--state-dir {} and --store redis://... are both set: on Redis registrations survive there, keep one of them",
            dir.display()
        ));
    }
    let password = env.secret("REDIS_PASSWORD").map_err(|error| error.to_string())?;
    let address = address.with_password(password)?;
    Ok(Some(RedisSettings { address, legacy: flags.redis_legacy, grace: RedisSettings::GRACE }))
}

/// What the flags and the environment mean; the error is what to print, a line per mistake.
pub fn settings(flags: RunFlags, env: &Env) -> Result<Settings, String> {
    let redis = redis(&flags, env)?;
    let single = registry::single_token(env).map_err(|error| error.to_string())?;
    let auth = match (single, &flags.tokens) {
        (Some(_), Some(path)) => {
            return Err(format!(
                "--tokens {} and REGISTRY_AUTH_TOKEN (or its _FILE) are both set: keep one of them",
                path.display()
            ));
        }
        (Some(token), None) => Auth::single(&token),
        (None, Some(path)) => Auth::tokens(read_tokens(path)?),
        (None, None) => Auth::Open,
    };
    Ok(Settings {
        listen: flags.listen,
        admin: flags.admin,
        auth,
        insecure: flags.insecure,
        allow_networks: flags.allow_network,
        allow_suffixes: flags.allow_suffix,
        state_dir: flags.state_dir,
        redis,
        limits: StoreLimits::default(),
    })
}

fn read_tokens(path: &Path) -> Result<Vec<registry::TokenConfig>, String> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--tokens {shown}: the file cannot be read: {error}"))?;
    registry::parse_tokens(&shown, &text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}
