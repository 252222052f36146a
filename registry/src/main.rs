//! The process `vertice-registry`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use vertice_config::Env;
use vertice_process::logging::{self, LogFormat};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_process::signals::{Asked, Signals};
use vertice_registry::cli::{self, Cli, Command, RunFlags};

/// For what is in flight after SIGTERM; long polls and streams end at once.
const STOP_TIME: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let Command::Run(flags) = Cli::parse().command;
    logging::start(tracing::Level::INFO, LogFormat::Text);
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            for line in message.lines() {
                eprintln!("vertice-registry: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(flags: RunFlags) -> Result<(), String> {
    let settings = cli::settings(flags, &Env::capture())?;
    // One thread: the store has one lock, and a core serves far more heartbeats than a fleet sends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let served = runtime.block_on(serve(settings));
    // A client that holds its connection open must not hold the process.
    runtime.shutdown_background();
    served
}

async fn serve(settings: vertice_registry::Settings) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let trigger = ShutdownTrigger::new();
    if settings.auth.is_open() && settings.insecure {
        tracing::warn!("no tokens: everybody who reaches this registry can redirect traffic");
    }
    let running = vertice_registry::start(settings, trigger.handle()).await.map_err(|e| e.to_string())?;
    tracing::info!(address = %running.address, admin = ?running.admin_address, "the registry listens");
    while signals.next().await == Asked::Reload {
        tracing::info!(
            "nothing to read again: the registry has no configuration that can change while it runs"
        );
    }
    tracing::info!("stopping");
    if !trigger.pull_and_wait(STOP_TIME).await {
        tracing::warn!("some connections did not finish in time and are cut");
    }
    Ok(())
}
