//! Where the workspace and its build are, and how cargo is called in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The checkout's root: this crate lies one folder below it.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A call of the cargo that runs this program, in the root.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root());
    command
}

/// Where cargo builds to, by cargo's own word: `CARGO_TARGET_DIR` and configuration files count.
pub(crate) fn target_dir() -> Result<PathBuf, String> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo metadata cannot be started: {error}"))?;
    if !output.status.success() {
        return Err("cargo metadata failed; its words are above".into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata did not print JSON: {error}"))?;
    let text = metadata.get("target_directory").and_then(Value::as_str);
    text.map(PathBuf::from).ok_or_else(|| "cargo metadata names no target_directory".into())
}
