//! `vertice-sidecar`: reads what was said, starts one small runtime, runs until told to stop.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::net::TcpListener;
use vertice_config::Env;
use vertice_config::sidecar::SidecarConfig;
use vertice_process::logging::{self, LogFormat};
use vertice_process::shutdown::ShutdownTrigger;
use vertice_process::signals::{Asked, Signals};
use vertice_process::tasks;
use vertice_sidecar::flags::Flags;
use vertice_sidecar::health::Timing;
use vertice_sidecar::run::run;

fn main() -> ExitCode {
    let env = Flags::parse().over(&Env::capture());
    let config = match SidecarConfig::from_env(&env) {
        Ok(config) => config,
        Err(mistakes) => {
            let lines = mistakes.iter().map(ToString::to_string);
            return complain(lines);
        }
    };
    logging::start(tracing::Level::INFO, LogFormat::Text);
    // One thread: the work is a few requests a minute, and each thread costs memory beside every service.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    match runtime {
        Ok(runtime) => match runtime.block_on(start(config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => complain([message]),
        },
        Err(error) => complain([format!("no runtime can be started on this host: {error}")]),
    }
}

async fn start(config: SidecarConfig) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let admin = match config.admin_listen {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            let listener = bound.map_err(|e| format!("ADMIN_LISTEN={address} cannot be listened on: {e}"))?;
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "admin listener");
            }
            Some(listener)
        }
    };
    let trigger = ShutdownTrigger::new();
    let shutdown = trigger.handle();
    tasks::spawn("signals", async move {
        // SIGHUP has nothing to read again: everything came with the start.
        while signals.next().await != Asked::Stop {}
        trigger.pull();
        // A trigger that is dropped counts as pulled as well; it stays until the process ends.
        std::future::pending::<()>().await;
    });
    let timing = Timing::new(config.heartbeat_interval);
    run(config, timing, admin, shutdown).await;
    Ok(())
}

/// Says what is wrong, line by line; exit status 1.
fn complain(lines: impl IntoIterator<Item = String>) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Nothing is left to be told if standard error is closed.
        let _ = writeln!(stderr, "vertice-sidecar: {line}");
    }
    ExitCode::FAILURE
}
