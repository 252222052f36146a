//! `cargo xtask bench`: builds what ships and the program that measures it, and starts the latter.

use std::process::{Command, ExitCode};

use clap::Args;

use crate::requirements::{self, DebianPackage};
use crate::step::run as succeeds;
use crate::workspace;

/// Options of `cargo xtask bench`.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchOptions {
    /// Passed on to `vertice-bench`: what to measure, and how; --help lists it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The peers, and what fails over.
const NEEDED: &[DebianPackage] = &[
    DebianPackage {
        name: "nginx",
        command: &["nginx"],
        reason: "it is the peer that the gateway is compared with, and the service behind both",
    },
    DebianPackage {
        name: "redis-server",
        command: &["redis-server"],
        reason: "failover kills one under registrations",
    },
    DebianPackage {
        name: "redis-sentinel",
        command: &["redis-sentinel"],
        reason: "failover lets it promote the copy",
    },
];

/// Measures. The load generator is built by itself, so that its features do not find their way into what is measured.
pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode, String> {
    let helps = options.arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    if !succeeds(workspace::cargo().args(["build", "--locked", "--release", "--package", "vertice-bench"])) {
        return Err("vertice-bench does not build; the compiler's words are above".into());
    }
    let target = workspace::target_dir()?;
    let mut bench = Command::new(target.join("release").join("vertice-bench"));
    bench.args(&options.arguments);
    if !helps {
        if let Err(error) = requirements::debian(NEEDED) {
            // What cannot do without it says so and is not measured; the rest is.
            println!("{error}");
        }
        let programs = ["vertice-gateway", "vertice-registry", "vertice-sidecar"];
        let packages = programs.iter().flat_map(|program| ["--package", program]);
        let build = ["build", "--locked", "--profile", "dist", "--bins"];
        if !succeeds(workspace::cargo().args(build).args(packages)) {
            return Err("the programs do not build; the compiler's words are above".into());
        }
        bench.arg("--programs").arg(target.join("dist")).arg("--out").arg(target.join("bench"));
    }
    Ok(if succeeds(&mut bench) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
