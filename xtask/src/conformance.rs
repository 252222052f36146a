//! `cargo xtask conformance`: builds the suite, and our gateway where it is the one to be judged.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use crate::requirements::{self, DebianPackage};
use crate::step::run as succeeds;
use crate::tally::Tally;
use crate::workspace;

/// Options of `cargo xtask conformance`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ConformanceOptions {
    /// Passed on to `vertice-conformance`; --help lists it. With --compare the page docs/conformance.md is written
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The peers.
const NEEDED: &[DebianPackage] = &[
    DebianPackage {
        name: "nginx",
        command: &["nginx"],
        reason: "it is a peer that the gateway is compared with",
    },
    DebianPackage {
        name: "haproxy",
        command: &["haproxy"],
        reason: "it is a peer that the gateway is compared with",
    },
];

/// Runs the suite. Against our own gateway unless the arguments name another target.
pub(crate) fn run(options: &ConformanceOptions) -> Result<ExitCode, String> {
    let has = |name: &str| {
        let with_value = format!("{name}=");
        options.arguments.iter().any(|argument| argument == name || argument.starts_with(&with_value))
    };
    let others = ["--target", "--nginx", "--haproxy", "--gateway", "--list", "--help", "-h"];
    let ours = !others.iter().any(|name| has(name));
    let compares = has("--compare");
    if compares || has("--nginx") || has("--haproxy") {
        requirements::debian(NEEDED)?;
    }
    let mut build = vec!["build", "--locked", "--bins", "--package", "vertice-conformance"];
    if ours {
        build.extend(["--package", "vertice-gateway"]);
    }
    if !succeeds(workspace::cargo().args(build)) {
        return Err("the suite does not build; the compiler's words are above".into());
    }
    let programs = workspace::target_dir()?.join("debug");
    let mut suite = Command::new(programs.join("vertice-conformance"));
    suite.args(&options.arguments);
    if ours {
        suite.arg("--gateway").arg(programs.join("vertice-gateway"));
    }
    if !compares {
        return Ok(if succeeds(&mut suite) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let output = suite.stderr(Stdio::inherit()).output().map_err(|error| format!("{suite:?}: {error}"))?;
    if !output.status.success() {
        return Err("the comparison failed; its words are above".into());
    }
    let page = workspace::root().join("docs").join("conformance.md");
    fs::write(&page, output.stdout)
        .map_err(|error| format!("{} cannot be written: {error}", page.display()))?;
    println!("{} is made anew", page.display());
    Ok(ExitCode::SUCCESS)
}

/// The suite against our gateway, case by case; both programs are built already.
pub(crate) fn check() -> Tally {
    let programs = match workspace::target_dir() {
        Ok(target) => target.join("debug"),
        Err(error) => {
            println!("{error}");
            return Tally::one(false);
        }
    };
    let mut suite = Command::new(programs.join("vertice-conformance"));
    suite.arg("--gateway").arg(programs.join("vertice-gateway"));
    match suite.stderr(Stdio::inherit()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            print!("{text}");
            // What gives no sum, or ends badly without a failed case, is a failure.
            match text.lines().last().and_then(Tally::parse) {
                Some(tally) if output.status.success() == (tally.failed == 0) => tally,
                _ => Tally::one(false),
            }
        }
        Err(error) => {
            println!("{suite:?} cannot be started: {error}");
            Tally::one(false)
        }
    }
}
