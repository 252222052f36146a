//! `cargo demo`: builds the three programs and becomes the gateway's demo.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::step::run as succeeds;
use crate::workspace;

/// Options of `cargo demo`.
#[derive(Args)]
pub(crate) struct DemoOptions {
    /// Passed on to `vertice-gateway demo`, for example --self-check
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds with the dev profile: on a fresh machine the first answer comes after half the compile time of a release
/// build, and a demo measures nothing.
///
/// This process then becomes the gateway instead of waiting for it, so Ctrl-C, SIGTERM and the exit code need no passing on.
pub(crate) fn run(options: &DemoOptions) -> Result<ExitCode, String> {
    let programs = ["vertice-gateway", "vertice-registry", "vertice-sidecar"];
    let packages = programs.iter().flat_map(|program| ["--package", program]);
    if !succeeds(workspace::cargo().args(["build", "--locked", "--bins"]).args(packages)) {
        return Err("the programs do not build; the compiler's words are above".into());
    }
    let gateway = workspace::target_dir()?.join("debug").join("vertice-gateway");
    let error = Command::new(&gateway).arg("demo").args(&options.arguments).exec();
    Err(format!("{} cannot be started: {error}", gateway.display()))
}
