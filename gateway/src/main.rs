//! The process `vertice-gateway`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
