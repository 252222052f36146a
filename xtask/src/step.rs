//! One step of a command: a line before it, and a line with its outcome and time after it.

use std::process::Command;
use std::time::Instant;

use crate::tally::Tally;

/// Runs `work` between two lines that name it.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Tally) -> Tally {
    println!("==> {name}");
    let start = Instant::now();
    let tally = work();
    let outcome = match tally {
        Tally { failed: 1.., .. } => "FAILED",
        Tally { passed: 0, skipped: 1.., .. } => "skipped",
        Tally { .. } => "ok",
    };
    println!("<== {name}: {outcome} ({:.1} s)\n", start.elapsed().as_secs_f64());
    tally
}

/// Runs `command` with its output in sight; whether it succeeded.
pub(crate) fn run(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("{command:?} cannot be started: {error}");
            false
        }
    }
}
