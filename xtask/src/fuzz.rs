//! `cargo xtask fuzz`: builds the fuzzer with the profile `fuzz` (fast, with every check of a debug build) and runs it.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::step::run as succeeds;
use crate::workspace;

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct FuzzOptions {
    /// Passed on to `vertice-fuzz`: [TARGET] --seconds N --seed S; --help lists all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it; a crash is a failure.
pub(crate) fn run(options: &FuzzOptions) -> Result<ExitCode, String> {
    let build = ["build", "--locked", "--profile", "fuzz", "--package", "vertice-fuzz"];
    if !succeeds(workspace::cargo().args(build)) {
        return Err("vertice-fuzz does not build; the compiler's words are above".into());
    }
    let program = workspace::target_dir()?.join("fuzz").join("vertice-fuzz");
    Ok(if succeeds(Command::new(program).args(&options.arguments)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
