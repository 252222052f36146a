//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::case::Outcome;
use crate::compare;
use crate::h1;
use crate::h2;
use crate::peers::{self, Peer};
use crate::report::{self, Format};
use crate::upstream::Upstream;
use crate::wire::Target;

/// Cases of HTTP/1.1 and HTTP/2 against a gateway.
///
/// The suite is the service, too: the target must forward every request to `--upstream`, whose bytes are judged. Without
/// `--target`, one of `--gateway`, `--nginx` and `--haproxy` is started for it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask conformance", bin_name = "cargo xtask conformance")]
struct Cli {
    /// Where the gateway listens that is to be judged
    #[arg(long, value_name = "HOST:PORT", requires = "upstream")]
    target: Option<SocketAddr>,
    /// Speak TLS to the target (its certificate is not verified)
    #[arg(long)]
    tls: bool,
    /// What to speak
    #[arg(long, value_enum, default_value = "all")]
    protocol: Protocol,
    /// Where the suite's service listens: where the target forwards to
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<SocketAddr>,
    /// Start this program of ours and judge it
    #[arg(long, value_name = "PROGRAM", conflicts_with = "target")]
    gateway: Option<PathBuf>,
    /// Start nginx and judge it
    #[arg(long, conflicts_with = "target")]
    nginx: bool,
    /// Start HAProxy and judge it
    #[arg(long, conflicts_with = "target")]
    haproxy: bool,
    /// Start all three and print the page that compares them; needs --gateway
    #[arg(long, requires = "gateway")]
    compare: bool,
    /// Only cases with this in their id
    #[arg(long, default_value = "")]
    only: String,
    /// Milliseconds to wait for something that should come
    #[arg(long, default_value_t = 4000)]
    patience: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// List the cases and run nothing
    #[arg(long)]
    list: bool,
}

/// What the cases speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    H1,
    H2,
    All,
}

/// Does what the command line asks for; the exit code is 1 when a case failed.
pub(crate) fn run() -> Result<ExitCode, String> {
    let cli = Cli::parse();
    if cli.list {
        report::list();
        return Ok(ExitCode::SUCCESS);
    }
    let patience = Duration::from_millis(cli.patience);
    if cli.compare {
        let program = cli.gateway.as_deref().unwrap_or(std::path::Path::new(""));
        print!("{}", compare::page(program, patience, &cli.only)?);
        return Ok(ExitCode::SUCCESS);
    }
    let outcomes = if let (Some(address), Some(service)) = (cli.target, cli.upstream) {
        let upstream = Upstream::start(service)?;
        let target = Target { address, tls: cli.tls, patience };
        against(&target, &upstream, cli.protocol, &cli.only)
    } else {
        let peer = if cli.nginx {
            Peer::Nginx
        } else if cli.haproxy {
            Peer::Haproxy
        } else if let Some(program) = &cli.gateway {
            Peer::Gateway(program.clone())
        } else {
            return Err("name what to judge: --target HOST:PORT with --upstream HOST:PORT, --gateway PROGRAM, --nginx or --haproxy".into());
        };
        peers::judge(&peer, patience, cli.protocol, &cli.only)?
    };
    let ours = cli.gateway.is_some();
    Ok(if report::print(&outcomes, cli.format, ours) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs what `protocol` asks for at one address.
fn against(target: &Target, upstream: &Upstream, protocol: Protocol, only: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    if protocol != Protocol::H2 {
        outcomes.extend(h1::suite(target, upstream, only));
    }
    if protocol != Protocol::H1 {
        outcomes.extend(h2::suite(target, upstream, only));
    }
    outcomes
}
