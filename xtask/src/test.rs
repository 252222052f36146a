//! `cargo xtask test`: everything that must hold, and one line that says whether it does.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Args;

use crate::conformance;
use crate::deny;
use crate::libtest::TestOutput;
use crate::requirements;
use crate::step::{run as succeeds, step};
use crate::tally::Tally;
use crate::third_party;
use crate::workspace;

/// Options of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct TestOptions {
    /// Also what takes long (many seeds, long runs): the tests marked `#[ignore]` run too, by `--include-ignored`
    #[arg(long)]
    all: bool,
}

/// Runs every part, whatever the parts before it said.
pub(crate) fn run(options: &TestOptions) -> ExitCode {
    let mut sum = Tally::default();
    let mut one = |name: &str, args: &[&str]| {
        sum += step(name, || Tally::one(succeeds(workspace::cargo().args(args))));
    };
    step("what the tests need", || {
        let debian = requirements::debian(requirements::FOR_TESTS);
        for needed in [requirements::components(), debian, requirements::python_packages()] {
            // Not counted: what cannot do without it fails below, and is counted there.
            if let Err(error) = needed {
                println!("{error}");
            }
        }
        Tally::default()
    });
    one("formatting", &["fmt", "--all", "--check"]);
    one("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    sum += step("copies of published crates", third_party::check);
    sum += step("rules about dependencies", deny::check);
    sum += step("programs that the whole-system tests start", || {
        let build = &["build", "--workspace", "--bins", "--locked"];
        if succeeds(workspace::cargo().args(build)) { Tally::default() } else { Tally::one(false) }
    });
    sum += step("tests", || tests(options));
    sum += step("conformance", conformance::check);
    println!("{sum}");
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tests(options: &TestOptions) -> Tally {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if std::io::stderr().is_terminal() {
        command.arg("--color=always");
    }
    if options.all {
        command.args(["--", "--include-ignored"]);
    }
    let mut cargo = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(cargo) => cargo,
        Err(error) => {
            println!("cargo test cannot be started: {error}");
            return Tally::one(false);
        }
    };
    let output = Mutex::new(TestOutput::default());
    thread::scope(|scope| {
        // The scope waits for both readers: each ends when cargo and the last test program have closed its pipe.
        if let Some(stderr) = cargo.stderr.take() {
            let output = &output;
            scope.spawn(move || {
                each_line(stderr, |line| {
                    eprintln!("{line}");
                    output.lock().unwrap_or_else(PoisonError::into_inner).stderr_line(line);
                });
            });
        }
        if let Some(stdout) = cargo.stdout.take() {
            each_line(stdout, |line| {
                println!("{line}");
                output.lock().unwrap_or_else(PoisonError::into_inner).stdout_line(line);
            });
        }
    });
    let succeeded = cargo.wait().is_ok_and(|status| status.success());
    let verdict = output.into_inner().unwrap_or_else(PoisonError::into_inner).verdict(succeeded);
    if !verdict.ignored.is_empty() {
        println!("skipped (cargo xtask test --all runs them): {}", verdict.ignored.join(", "));
    }
    if let Some(trouble) = &verdict.trouble {
        println!("{trouble}");
    }
    verdict.tally
}

/// Hands each line on as it comes; bytes that are no UTF-8 are replaced.
fn each_line(from: impl Read, mut take: impl FnMut(&str)) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
        line.clear();
    }
}
