//! The copies of published crates under `third-party/`: each is the published one and its patch, and nothing else.
//!
//! Why there is one at all: docs/decisions/0010-patched-h2.md.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::tally::Tally;
use crate::workspace;

/// What of the published crate is copied: what its build and its licence need.
const COPIED: [&str; 3] = ["Cargo.toml", "LICENSE", "src"];

/// `cargo xtask third-party`.
pub(crate) fn run() -> ExitCode {
    let tally = check();
    println!("{tally}");
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares `third-party/h2` with the published crate.
pub(crate) fn check() -> Tally {
    match differs("h2") {
        Ok(None) => Tally::one(true),
        Ok(Some(message)) => {
            println!("{message}");
            Tally::one(false)
        }
        Err(reason) => {
            println!("skipped: {reason}");
            Tally::one_skipped()
        }
    }
}

/// The manifest that names the published crates in the place of the copies, once [`check`] has run: advisories are about
/// published crates.
pub(crate) fn manifest_of_published() -> Option<PathBuf> {
    let manifest = workspace::target_dir().ok()?.join("third-party").join("asking").join("Cargo.toml");
    manifest.is_file().then_some(manifest)
}

/// What is wrong with the copy of the crate `name`; `Err`: the published one could not be had.
fn differs(name: &str) -> Result<Option<String>, String> {
    let folder = workspace::root().join("third-party");
    if let Some(stranger) = stranger(&folder.join(name)) {
        return Ok(Some(format!("{} is no part of the copy: {COPIED:?} are", stranger.display())));
    }
    let work = workspace::target_dir()?.join("third-party");
    let published = published(name, &folder.join(name), &work)?;
    let found = difference(&published, &folder.join(name), &work)?;
    let patch = folder.join(format!("{name}.patch"));
    // A patch that is not there is an empty one.
    let expected = fs::read_to_string(&patch).unwrap_or_default();
    if found == expected {
        return Ok(None);
    }
    let actual = work.join(format!("{name}.patch"));
    write(&actual, &found)?;
    Ok(Some(format!(
        "third-party/{name} is not the published crate and {}: the difference is in {}. If it is what you want, copy it there",
        patch.display(),
        actual.display()
    )))
}

/// What lies in the copy and is not of [`COPIED`].
fn stranger(copy: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(copy).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find(|path| !COPIED.iter().any(|part| path.ends_with(part)))
}

/// Where cargo keeps the published crate of the version that `copy` has.
fn published(name: &str, copy: &Path, work: &Path) -> Result<PathBuf, String> {
    let asking = work.join("asking");
    let version = package(&metadata(&copy.join("Cargo.toml"), &["--no-deps"])?, name, "version")?;
    // A workspace of its own: in ours, the copy takes the place of the published crate.
    fs::create_dir_all(&asking).map_err(|error| format!("{}: {error}", asking.display()))?;
    write(&asking.join("lib.rs"), "")?;
    write(
        &asking.join("Cargo.toml"),
        &format!(
            "[workspace]\n[package]\nname = \"asking\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             [lib]\npath = \"lib.rs\"\n[dependencies]\n{name} = \"={version}\"\n"
        ),
    )?;
    let manifest = package(&metadata(&asking.join("Cargo.toml"), &[])?, name, "manifest_path")?;
    let folder = Path::new(&manifest).parent().map(Path::to_path_buf);
    folder.ok_or_else(|| format!("cargo names no folder for {name} {version}"))
}

fn metadata(manifest: &Path, more: &[&str]) -> Result<Value, String> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(manifest).args(more);
    let output = command.output().map_err(|error| format!("{command:?} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata did not print JSON: {error}"))
}

/// What `metadata` says about the package `name`.
fn package(metadata: &Value, name: &str, key: &str) -> Result<String, String> {
    let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    packages
        .filter(|package| package.get("name").and_then(Value::as_str) == Some(name))
        .find_map(|package| package.get(key)?.as_str().map(str::to_owned))
        .ok_or_else(|| format!("cargo metadata says nothing about the {key} of {name}"))
}

/// The difference as a patch, with the same text wherever the two lie and whenever they were written.
fn difference(published: &Path, copy: &Path, work: &Path) -> Result<String, String> {
    for (link, to) in [("a", published), ("b", copy)] {
        let link = work.join(link);
        let _ = fs::remove_file(&link);
        symlink(to, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    }
    let mut patch = String::new();
    for part in COPIED {
        let mut diff = Command::new("diff");
        diff.current_dir(work).args(["-ruN", &format!("a/{part}"), &format!("b/{part}")]);
        let output = diff.output().map_err(|error| format!("{diff:?} cannot be started: {error}"))?;
        if output.status.code().is_none_or(|code| code > 1) {
            return Err(format!("{diff:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
        }
        for line in String::from_utf8_lossy(&output.stdout).split_inclusive('\n') {
            match line.split_once('\t') {
                _ if line.starts_with("diff -ruN ") => {}
                // Times of writing.
                Some((file, _)) if file.starts_with("--- a/") || file.starts_with("+++ b/") => {
                    patch.push_str(file);
                    patch.push('\n');
                }
                _ => patch.push_str(line),
            }
        }
    }
    Ok(patch)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
