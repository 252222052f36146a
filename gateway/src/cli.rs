//! The command line: `run`, `check`, `explain`, `demo`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use vertice_config::Env;
use vertice_config::gateway::{self, Flags, GatewayConfig};
use vertice_gateway::{app, demo, explain};
use vertice_process::logging::{self, LogFormat};
use vertice_process::signals::{Asked, Signals};

/// The front door of all services, which it finds in the registry by name.
#[derive(Parser)]
#[command(name = "vertice-gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway; without flags: on loopback with an embedded registry, ready to try
    Run(RunFlags),
    /// Read a configuration and say everything that is wrong with it
    Check(CheckFlags),
    /// Ask a running gateway where a request would go, and why not elsewhere
    Explain(ExplainFlags),
    /// A registry, a few services with sidecars and a gateway, to try things out
    Demo(DemoFlags),
}

#[derive(Args)]
struct RunFlags {
    /// Configuration file (docs/reference/config.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients come in, instead of the file's listeners
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where operators look in: /live /ready /metrics /table /services /holds /explain
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// The registry, ours or one that speaks the five old calls
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Run a registry inside this process, listening here
    #[arg(long, value_name = "ADDR")]
    embedded_registry: Option<SocketAddr>,
    /// Where the last known good of the registry is kept; nowhere if not given
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Worker threads; one per core if not given
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
}

#[derive(Args)]
struct CheckFlags {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
struct ExplainFlags {
    /// Method, as GET
    method: String,
    /// Absolute URL, as http://host/path
    url: String,
    /// A header of the request, as 'name: value'; can be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The running gateway's admin listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
}

#[derive(Args)]
struct DemoFlags {
    /// Go through the story alone, a line per step; exit code 0 if every step held, else 1
    #[arg(long)]
    self_check: bool,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(flags) => run_gateway(&flags),
        Command::Check(flags) => check(&flags.config),
        Command::Explain(flags) => {
            on_runtime(explain::ask(flags.admin, &flags.method, &flags.url, &flags.headers))
        }
        Command::Demo(flags) => on_runtime(demo::run(flags.self_check)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                eprintln!("vertice-gateway: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs `work` on the control side's runtime: one thread, off the request path.
fn on_runtime<F: Future<Output = Result<(), String>>>(work: F) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let done = runtime.block_on(work);
    // Name look-ups that hang must not hold the process.
    runtime.shutdown_background();
    done
}

fn run_gateway(flags: &RunFlags) -> Result<(), String> {
    let config = load(flags)?;
    logging::start(tracing::Level::INFO, if flags.log_json { LogFormat::Json } else { LogFormat::Text });
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    on_runtime(serve(config))
}

async fn serve(config: GatewayConfig) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let gateway = app::start(config).await.map_err(|error| error.to_string())?;
    if let Some(address) = gateway.registry {
        tracing::info!(%address, "embedded registry listening");
    }
    if let Some(address) = gateway.admin {
        tracing::info!(%address, "admin listening");
    }
    for (name, address) in &gateway.listeners {
        tracing::info!(listener = name, %address, "listening");
    }
    while signals.next().await == Asked::Reload {
        tracing::warn!("reading the configuration again is not offered yet: restart to apply changes");
    }
    tracing::info!("stopping: no new connections, requests in flight are finished");
    if gateway.drain().await {
        tracing::info!("stopped");
    } else {
        tracing::warn!("the drain timeout passed; what was still in flight is cut");
    }
    Ok(())
}

fn load(flags: &RunFlags) -> Result<GatewayConfig, String> {
    let file = flags.config.as_deref().map(read).transpose()?;
    let said = Flags {
        listen: flags.listen,
        admin: flags.admin,
        registry: flags.registry.clone(),
        embedded_registry: flags.embedded_registry,
        workers: flags.workers,
        state_dir: flags.state_dir.clone(),
    };
    resolve(file.as_ref(), &said)
}

fn check(path: &Path) -> Result<(), String> {
    let file = read(path)?;
    let config = resolve(Some(&file), &Flags::default())?;
    for warning in &config.warnings {
        println!("warning: {warning}");
    }
    println!(
        "{}: good: {} listener(s), {} route(s), {} service(s) with fall-backs",
        file.0,
        config.listeners.len(),
        config.routes.len(),
        config.services.len()
    );
    Ok(())
}

/// The file's name and text.
fn read(path: &Path) -> Result<(String, String), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn resolve(file: Option<&(String, String)>, flags: &Flags) -> Result<GatewayConfig, String> {
    let file = file.map(|(name, text)| (name.as_str(), text.as_str()));
    gateway::resolve(file, &Env::capture(), flags).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}
