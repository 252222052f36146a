//! The developer's commands, run as `cargo xtask COMMAND`.
#![allow(
    clippy::disallowed_methods,
    reason = "a tool at the developer's side: it reads the environment and the clock as every command line does"
)]

mod workspace;
mod requirements;
mod step;
mod tally;
mod libtest;
mod deny;
mod third_party;
mod test;
mod demo;
mod bench;
mod conformance;
mod fuzz;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developer's commands of Vértice Gateway. Linux is the platform.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need and runs all of them: format, lints, dependency rules, tests
    ///
    /// The last line is `N passed, N failed, N skipped`; the exit code is 1 if anything failed. Ignored tests count as
    /// skipped and are named.
    Test(test::TestOptions),
    /// Builds the three programs and starts a registry, three services with sidecars and the gateway
    Demo(demo::DemoOptions),
    /// Builds the programs as they ship and measures them, side by side with peers
    Bench(bench::BenchOptions),
    /// Runs the cases of HTTP/1.1 and HTTP/2 against our gateway or any other; --help lists the options
    Conformance(conformance::ConformanceOptions),
    /// Feeds every parser and the header rules with mutated input; --help lists the options
    Fuzz(fuzz::FuzzOptions),
    /// Registry, sidecars and gateways under faults, simulated with many seeds
    Simulate(simulate::SimulateOptions),
    /// Compares each copy under third-party/ with the published crate and its patch; a part of `test`
    ThirdParty,
    // `dist` (the profile that ships) gets its line and its module here.
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Test(options) => Ok(test::run(&options)),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::ThirdParty => Ok(third_party::run()),
        Command::Simulate(options) => Ok(simulate::run(&options)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
