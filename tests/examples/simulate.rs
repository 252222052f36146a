//! `cargo xtask simulate`: the simulation with many seeds, or with one again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test equipment: a broken expectation should panic at once, with its place"
)]

#[allow(dead_code, unused_imports, reason = "what the tests use of it, this does not")]
#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::process::ExitCode;

use clap::Parser;
use simulation::{Options, Story, run};

/// Runs the simulation of registry, sidecars and gateways under faults, seed after seed, until one finds something.
///
/// VERTICE_SEED in the environment runs that seed only.
#[derive(Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Cli {
    /// How many runs
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; the next ones count up. Drawn if not given
    #[arg(long)]
    from: Option<u64>,
    /// Events of a run
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Three registries on one Redis instead of one
    #[arg(long)]
    replicas: bool,
    /// Much falls silent for longer than self-preservation may last, and nobody ends it
    #[arg(long)]
    silence: bool,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a tool at the developer's side reads the environment as every command line does"
)]
fn given() -> Option<u64> {
    std::env::var("VERTICE_SEED").ok()?.parse().ok()
}

fn main() -> ExitCode {
    let Cli { seeds, from, steps, replicas, silence } = Cli::parse();
    let story = if silence { Story::Silence } else { Story::Anything };
    let given = given();
    let first = given.or(from).unwrap_or_else(|| fastrand::u64(..u64::MAX / 2));
    let count = if given.is_some() { 1 } else { seeds };
    for (seed, done) in (first..).zip(1..=count) {
        match run(Options { seed, steps, replicas, story, ..Options::default() }) {
            Ok(summary) => println!("{done}/{count} seed {seed}: {summary:?}"),
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{count} seeds, nothing found");
    ExitCode::SUCCESS
}
