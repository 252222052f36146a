//! `cargo xtask simulate`: builds the simulation with optimisation, because it runs many seeds, and starts it.

use std::process::ExitCode;

use clap::Args;

use crate::step::run as succeeds;
use crate::workspace;

/// Options of `cargo xtask simulate`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimulateOptions {
    /// Passed on: --seeds N, --from SEED, --steps N; --help tells of them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The environment is passed on as well: `VERTICE_SEED` repeats one run.
pub(crate) fn run(options: &SimulateOptions) -> ExitCode {
    let run = ["run", "--locked", "--release", "--package", "vertice-tests", "--example", "simulate", "--"];
    let simulated = succeeds(workspace::cargo().args(run).args(&options.arguments));
    if simulated { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
