//! The command line, and the run: one scenario after the other, each with its report.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::programs::Programs;
use crate::report::{self, Outcome};
use crate::scenario::{
    changes, cpu, failover, million, outage, policies, propagation, restart, rolling, sidecar_rss, slow,
    swap, watchers,
};

/// Measures the programs of the `dist` profile. Progress while it runs, a table at the end; JSON and Markdown in --out
///
/// The exit code is 1 when a scenario could not be measured or something failed in it, not when a goal was missed:
/// a busy machine misses goals.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub(crate) struct Options {
    /// What to measure; everything if none is named
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// cpu, tls: interleaved rounds per proxy; policies: per route
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// cpu, tls, policies: seconds of one round, after half a second that is not counted
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// cpu, tls, policies: keep-alive connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// propagation: registrations
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) registrations: u32,
    /// swap and outage (per case): requests
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) requests: u32,
    /// outage: seconds that each fault lasts; ten minutes are 600
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) down_seconds: u32,
    /// restart: starts of the gateway
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) restarts: u32,
    /// million: instances
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    pub(crate) instances: u32,
    /// watchers: how many
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) watchers: u32,
    /// changes: requests
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    pub(crate) change_requests: u32,
    /// changes: requests per second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// propagation: seed of the pauses between registrations; drawn and printed if not given
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// rolling: restarts of an instance
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rolls: u32,
    /// Folder of the programs to measure
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    programs: PathBuf,
    /// Folder for the reports
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
}

/// One thing that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// CPU time per proxied request, against nginx
    Cpu,
    /// The same inside TLS
    Tls,
    /// Time from a registration to the first request that is routed to it
    Propagation,
    /// Requests while the table is swapped every millisecond
    Swap,
    /// Requests while the configuration and the process change
    Changes,
    /// Memory of a sidecar
    SidecarRss,
    /// Requests while the registry is down, restarted, black-holed, amnesiac or answers nonsense
    Outage,
    /// Time from the start of a gateway whose registry is away to its first answer
    Restart,
    /// Memory, heartbeats, registrations and restart of a registry with a million instances
    Million,
    /// Delivery of a change to ten thousand watchers, and their memory
    Watchers,
    /// Registrations while the Redis of two registries fails over
    Failover,
    /// Rolling restarts under load, each instance drained by the barrier
    Rolling,
    /// Ten thousand idle clients, slow ones and floods over HTTP/2: what others notice, and what they cost
    Slow,
    /// CPU time per request with policies and without; a rate limit that two gateways share in a Redis that stops and dies
    Policies,
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let options = Options::parse();
    // One thread for the load, the stubs and the clock: what is measured gets the rest of the machine.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let done = match runtime {
        Ok(runtime) => runtime.block_on(unless_stopped(measure(&options))),
        Err(error) => Err(format!("the runtime cannot be started: {error}")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

/// Ctrl-C and SIGTERM drop `work`, and with it every program that it has started.
async fn unless_stopped(work: impl Future<Output = Result<ExitCode, String>>) -> Result<ExitCode, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be listened to: {error}"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err("stopped".into()),
        _ = terminate.recv() => Err("stopped".into()),
    }
}

async fn measure(options: &Options) -> Result<ExitCode, String> {
    let programs = Programs::in_folder(&options.programs)?;
    let machine = Machine::look();
    println!("{}", machine.describe());
    let chosen = if options.scenarios.is_empty() { Scenario::value_variants() } else { &options.scenarios };
    let mut outcomes = Vec::new();
    let mut troubled = false;
    for scenario in chosen {
        let name = scenario.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        println!("\n==> {name}");
        match one(*scenario, &programs, options).await {
            Ok(outcome) => {
                troubled |= outcome.troubled;
                report::write(&options.out, &name, &machine, &outcome)?;
                outcomes.push(outcome);
            }
            Err(error) => {
                println!("{name}: not measured: {error}");
                troubled = true;
            }
        }
    }
    println!("\n{}", report::summary(&outcomes));
    println!("reports: {}", options.out.display());
    Ok(if troubled { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn one(scenario: Scenario, programs: &Programs, options: &Options) -> Result<Outcome, String> {
    match scenario {
        Scenario::Cpu => cpu::run(programs, options).await,
        Scenario::Tls => cpu::run_tls(programs, options).await,
        Scenario::Propagation => propagation::run(programs, options).await,
        Scenario::Changes => changes::run(programs, options.change_requests, options.rate).await,
        Scenario::Swap => swap::run(programs, options.requests).await,
        Scenario::SidecarRss => sidecar_rss::run(programs).await,
        Scenario::Outage => outage::run(programs, options).await,
        Scenario::Restart => restart::run(programs, options).await,
        Scenario::Million => million::run(programs, options).await,
        Scenario::Watchers => watchers::run(programs, options).await,
        Scenario::Failover => failover::run(programs).await,
        Scenario::Rolling => rolling::run(programs, options.rolls).await,
        Scenario::Slow => slow::run(programs).await,
        Scenario::Policies => policies::run(programs, options).await,
    }
}
