//! The rules about dependencies in `deny.toml`, held by cargo-deny.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::requirements;
use crate::step::run;
use crate::tally::Tally;
use crate::third_party;
use crate::workspace;

/// Cloning the advisory database takes seconds; a network that swallows packets must not hold the tests up.
const FETCH_LIMIT: Duration = Duration::from_mins(1);

/// Bans, licences and sources always; advisories where their database can be fetched.
pub(crate) fn check() -> Tally {
    let program = match requirements::cargo_deny() {
        Ok(program) => program,
        Err(error) => {
            println!("cargo-deny is needed and could not be installed: {error}");
            return Tally::one(false);
        }
    };
    let mut tally = Tally::one(run(deny(&program).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ])));
    tally += match fetch_advisories(&program) {
        Ok(()) => {
            let mut tally = Tally::one(run(&mut advisories(deny(&program))));
            // What is patched is a folder to cargo-deny, of which there are no advisories.
            if let Some(manifest) = third_party::manifest_of_published() {
                let mut deny = deny(&program);
                deny.arg("--manifest-path").arg(manifest);
                tally += Tally::one(run(&mut advisories(deny)));
            }
            tally
        }
        Err(reason) => {
            println!("skipped: advisories, {reason}");
            Tally::one_skipped()
        }
    };
    tally
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).arg("--locked");
    command
}

fn advisories(mut deny: Command) -> Command {
    // What was fetched is to be used, and no more to be fetched.
    deny.arg("--offline").arg("--config").arg(workspace::root().join("deny.toml"));
    deny.args(["check", "advisories"]);
    deny
}

fn fetch_advisories(program: &Path) -> Result<(), String> {
    let mut fetch = deny(program)
        .args(["fetch", "db"])
        .stdin(Stdio::null())
        // Git must fail where it would ask for a password.
        .env("GIT_TERMINAL_PROMPT", "0")
        .spawn()
        .map_err(|error| format!("cargo-deny cannot be started: {error}"))?;
    let deadline = Instant::now() + FETCH_LIMIT;
    loop {
        match fetch.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => return Err("their database could not be fetched (see above)".into()),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(100)),
            Ok(None) => {
                let _ = fetch.kill();
                let _ = fetch.wait();
                return Err(format!("their database did not come within {} s", FETCH_LIMIT.as_secs()));
            }
            Err(error) => return Err(format!("cargo-deny was lost: {error}")),
        }
    }
}
