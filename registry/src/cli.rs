//! The command line of `vertice-registry`, and settings out of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use vertice_config::{Env, registry};

use crate::auth::Auth;
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
  RUST_LOG is not read; logs go to standard error.
Without a token (these or --tokens) the registry listens on loopback only, unless --insecure.";

/// What the registry can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT.
    #[command(after_help = ENVIRONMENT)]
    Run(RunFlags),
}

/// The flags of `run`.
#[derive(Clone, Debug, Parser)]
pub struct RunFlags {
    /// Where clients come in; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8888")]
    pub listen: SocketAddr,
    /// Where the registrations are kept.
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub store: StoreKind,
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

/// Where registrations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// In this process's memory, kept on disk with --state-dir; without it a restart starts empty, and clients register
    /// again.
    Memory,
}

/// What the flags and the environment mean; the error is what to print, a line per mistake.
pub fn settings(flags: RunFlags, env: &Env) -> Result<Settings, String> {
    let StoreKind::Memory = flags.store;
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
