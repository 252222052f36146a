//! Measurements of the shipped programs, side by side with peers, in one run on one machine.
//!
//! `cargo xtask bench` builds what is measured and starts this. Each scenario is one file in `scenario/`; what they
//! share: `child` starts programs, `connection` and `load` ask, `usage` reads what a process has used, `report` writes.

mod cli;
mod child;
mod programs;
mod nginx;
mod redis;
mod tls;
mod stub;
mod connection;
mod load;
mod paced;
mod lingering;
mod floods;
mod files;
mod sick;
mod usage;
mod machine;
mod stats;
mod report;
mod scenario;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
