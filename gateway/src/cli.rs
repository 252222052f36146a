//! The command line: `run`, `upgrade`, `check`, `explain`, `hash-key`, `demo`.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use vertice_config::Env;
use vertice_config::gateway::policy::KeyHash;
use vertice_config::gateway::{Flags, ListenAddress};
use vertice_gateway::credentials::CredentialError;
use vertice_gateway::reload::origin::Origin;
use vertice_gateway::{app, demo, explain, upgrade};
use vertice_process::logging::{self, LogFormat};

/// Bytes of a key that are read; longer ones are refused by the gateway, too.
const KEY_BYTES: u64 = 1024;

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
    /// Start a new process with these flags that takes over from the running one; exit code 0 once it has
    Upgrade(RunFlags),
    /// Read a configuration and say everything that is wrong with it
    Check(CheckFlags),
    /// Ask a running gateway where a request would go, and why not elsewhere
    Explain(ExplainFlags),
    /// Read an API key from standard input and print what `sha256` of an [[api_key]] is for it
    HashKey,
    /// A registry, a few services with sidecars and a gateway, to try things out
    Demo(DemoFlags),
}

#[derive(Args)]
struct RunFlags {
    /// Configuration file (docs/reference/config.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients come in, an address or unix:PATH, instead of the file's listeners
    #[arg(long, value_name = "ADDR")]
    listen: Option<ListenAddress>,
    /// Where operators look in: /live /ready /metrics /config /table /services /holds /explain
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
    /// Where a successor takes over the listening sockets; upgrade.sock in the state directory if not given
    #[arg(long, value_name = "PATH")]
    upgrade_socket: Option<PathBuf>,
    /// Worker threads; one per core if not given
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Log lines as JSON
    #[arg(long)]
    log_json: bool,
    /// Take over the listening sockets of the running gateway, which then drains and ends
    #[arg(long)]
    upgrade: bool,
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
        Command::Upgrade(flags) => upgrade(&flags),
        Command::Check(flags) => check(&flags.config),
        Command::Explain(flags) => {
            on_runtime(explain::ask(flags.admin, &flags.method, &flags.url, &flags.headers))
        }
        Command::HashKey => hash_key(),
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
fn on_runtime<T, F: Future<Output = Result<T, String>>>(work: F) -> Result<T, String> {
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
    let origin = origin(flags);
    let config = origin.read().map_err(|mistakes| mistakes.join("\n"))?;
    logging::start(tracing::Level::INFO, if flags.log_json { LogFormat::Json } else { LogFormat::Text });
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    on_runtime(app::run::run(config, origin, flags.upgrade))
}

fn upgrade(flags: &RunFlags) -> Result<(), String> {
    let config = origin(flags).read().map_err(|mistakes| mistakes.join("\n"))?;
    let socket = config.upgrade_socket.ok_or(app::run::NO_UPGRADE_SOCKET)?;
    // What follows the name of the command is what the new process is started with.
    let arguments = std::env::args_os().skip(2).filter(|argument| argument != "--upgrade").collect();
    let process = on_runtime(upgrade::command::upgrade(&socket, arguments))?;
    println!("process {process} has taken over; the one before finishes what it has begun");
    Ok(())
}

fn origin(flags: &RunFlags) -> Origin {
    let said = Flags {
        listen: flags.listen.clone(),
        admin: flags.admin,
        registry: flags.registry.clone(),
        embedded_registry: flags.embedded_registry,
        workers: flags.workers,
        state_dir: flags.state_dir.clone(),
        upgrade_socket: flags.upgrade_socket.clone(),
    };
    Origin { file: flags.config.clone(), flags: said, env: Env::capture() }
}

fn hash_key() -> Result<(), String> {
    let mut text = String::new();
    std::io::stdin()
        .take(KEY_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| format!("no key could be read from standard input: {error}"))?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "give one key on standard input: letters, digits and signs of ASCII, without spaces".into()
        );
    }
    println!("{}", KeyHash::of(key.as_bytes()).to_hex());
    Ok(())
}

fn check(path: &Path) -> Result<(), String> {
    let origin = Origin { file: Some(path.to_owned()), flags: Flags::default(), env: Env::capture() };
    let config = origin.read().map_err(|mistakes| mistakes.join("\n"))?;
    for warning in &config.warnings {
        println!("warning: {warning}");
    }
    let in_lines = |errors: &[CredentialError]| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let credentials = app::Credentials::load(&config, 1, None).map_err(|errors| in_lines(&errors))?;
    let policies = app::load_policies(&config, None).map_err(|errors| errors.join("\n"))?;
    let now_s = vertice_process::clock::unix_ms() / 1000;
    for warning in policies.keys().warnings(now_s) {
        println!("warning: {warning}");
    }
    for warning in credentials.https().flat_map(|tls| tls.warnings(now_s)) {
        println!("warning: {warning}");
    }
    let expired: Vec<_> = credentials.https().flat_map(|tls| tls.expired(now_s)).collect();
    if !expired.is_empty() {
        return Err(in_lines(&expired));
    }
    println!(
        "{}: good: {} listener(s), {} route(s), {} service(s) configured",
        path.display(),
        config.listeners.len(),
        config.routes.len(),
        config.services.len()
    );
    Ok(())
}
