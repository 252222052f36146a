//! What the tests need beyond cargo itself, as data with reasons, and how each is put there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A Debian package, and what shows whether it is there already.
pub(crate) struct DebianPackage {
    pub(crate) name: &'static str,
    /// The command that it brings, and what to call it with where its being there does not tell enough.
    pub(crate) command: &'static [&'static str],
    pub(crate) reason: &'static str,
}

/// What `cargo xtask test` needs. Keep it short: each entry is a hurdle for somebody.
pub(crate) const FOR_TESTS: &[DebianPackage] = &[
    DebianPackage {
        name: "gcc",
        command: &["cc"],
        reason: "aws-lc-rs, the crypto library under TLS, is partly C and is compiled with the system's compiler",
    },
    DebianPackage {
        name: "redis-server",
        command: &["redis-server"],
        reason: "the tests of replicas on Redis start, kill and stop real servers",
    },
    DebianPackage {
        name: "python3-venv",
        command: &["python3", "-m", "ensurepip", "--version"],
        reason: "the tests of gRPC and WebSocket use real peers from PyPI, which are installed into target/tools/python",
    },
    DebianPackage {
        name: "redis-sentinel",
        command: &["redis-sentinel"],
        reason: "the tests of failover let a real Sentinel do it",
    },
];

/// Real peers from PyPI, each at one version: gRPC's own core with its health service and its messages, a WebSocket server,
/// and Autobahn's cases for it.
const PYTHON_PACKAGES: [&str; 5] = [
    "grpcio==1.85.3",
    "grpcio-health-checking==1.85.1",
    "protobuf==7.36.2",
    "websockets==17.4",
    "kosoku==0.1.0",
];

/// Components of the Rust toolchain that a minimal one lacks.
const COMPONENTS: &[(&str, &str)] =
    &[("rustfmt", "cargo-fmt checks the formatting"), ("clippy", "cargo-clippy checks the lints")];

/// The version that the rules in `deny.toml` were written for.
const CARGO_DENY: &str = "0.20.2";

/// Installs what is missing of `packages`, or says what to install and why.
pub(crate) fn debian(packages: &[DebianPackage]) -> Result<(), String> {
    let missing: Vec<_> = packages.iter().filter(|package| !is_there(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    if is_root() && on_path("apt-get") {
        println!("installing by apt: {}", names.join(" "));
        succeeds(Command::new("apt-get").args(["update", "--quiet"]))?;
        let install = ["install", "--yes", "--no-install-recommends"];
        return succeeds(
            Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(install).args(&names),
        );
    }
    let reasons: Vec<_> = missing
        .iter()
        .map(|package| {
            format!("  {} (brings `{}`): {}", package.name, package.command.join(" "), package.reason)
        })
        .collect();
    let (names, reasons) = (names.join(" "), reasons.join("\n"));
    Err(format!("please install with the rights to do so: apt-get install {names}\n{reasons}"))
}

/// Adds missing toolchain components through rustup, or says what to add and why.
pub(crate) fn components() -> Result<(), String> {
    for (component, reason) in COMPONENTS {
        let command = if *component == "rustfmt" { "cargo-fmt" } else { "cargo-clippy" };
        if answers(command) {
            continue;
        }
        if !on_path("rustup") {
            return Err(format!("please install the Rust component {component}: {reason}"));
        }
        succeeds(Command::new("rustup").args(["component", "add", component]))?;
    }
    Ok(())
}

/// The path of cargo-deny, built into `target/tools` if it is not there in the wanted version.
pub(crate) fn cargo_deny() -> Result<PathBuf, String> {
    let tools = crate::workspace::target_dir()?.join("tools");
    let program = tools.join("bin").join("cargo-deny");
    let installed = Command::new(&program).arg("--version").stderr(Stdio::null()).output();
    if installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(CARGO_DENY)) {
        return Ok(program);
    }
    println!("building cargo-deny {CARGO_DENY} once, about 3 minutes on 2 cores");
    // No default features: what they bring serves other output formats and platforms, and doubles the build.
    succeeds(
        crate::workspace::cargo()
            .args(["install", "cargo-deny", "--version", CARGO_DENY, "--locked", "--no-default-features"])
            .arg("--force")
            .arg("--root")
            .arg(&tools),
    )?;
    Ok(program)
}

/// Puts the peers from PyPI into `target/tools/python` if they are not there in the wanted versions.
pub(crate) fn python_packages() -> Result<(), String> {
    let folder = crate::workspace::target_dir()?.join("tools").join("python");
    let python = folder.join("bin").join("python3");
    let installed = Command::new(&python).args(["-m", "pip", "freeze"]).stderr(Stdio::null()).output();
    if installed.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        PYTHON_PACKAGES.iter().all(|wanted| text.lines().any(|line| line == *wanted))
    }) {
        return Ok(());
    }
    succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES))
}

fn is_there(package: &DebianPackage) -> bool {
    match package.command {
        [command] => on_path(command),
        [command, arguments @ ..] => runs(Command::new(command).args(arguments)),
        [] => false,
    }
}

fn on_path(command: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

/// Whether `command --version` runs: rustup leaves stubs on the path for components that are not installed.
fn answers(command: &str) -> bool {
    runs(Command::new(command).arg("--version"))
}

fn runs(command: &mut Command) -> bool {
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown} ended with {status}")),
        Err(error) => Err(format!("{shown} cannot be started: {error}")),
    }
}
