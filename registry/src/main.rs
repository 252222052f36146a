//! The process `vertice-registry`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use vertice_config::Env;
use vertice_process::logging::{self, LogFormat};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_process::signals::{Asked, Signals};
use vertice_registry::cli::{self, Cli, RunFlags};
use vertice_registry::operator::{self, Ended};

/// For what is in flight after SIGTERM; long polls and streams end at once.
const STOP_TIME: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let flags = match Cli::parse().command.split() {
        Ok(flags) => flags,
        Err(command) => return operate(command),
    };
    logging::start(tracing::Level::INFO, LogFormat::Text);
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

/// Exit code of what was done but is not applied everywhere yet.
const PARTLY: u8 = 3;

fn operate(command: operator::Command) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(operator::run(command, &Env::capture())),
        Err(error) => return fail(&format!("cannot start the runtime: {error}")),
    };
    let (text, code) = match ended {
        Ok(Ended::Well(text)) => (text, ExitCode::SUCCESS),
        Ok(Ended::Partly(text)) => (text, ExitCode::from(PARTLY)),
        Err(message) => return fail(&message),
    };
    // Who reads may go away, as `head` does: that is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

fn fail(message: &str) -> ExitCode {
    for line in message.lines() {
        eprintln!("vertice-registry: {line}");
    }
    ExitCode::FAILURE
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
