//! `vertice-gateway upgrade`: starts a new process that takes over, and says what came of it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{PATIENCE, take_over};

/// Between two looks at what the new process does.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts `run --upgrade` with `arguments` and returns once that process has taken over from the one at `socket`. It goes on
/// after us, with our standard output and error.
pub async fn upgrade(socket: &Path, arguments: Vec<OsString>) -> Result<u32, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("this program is not to be found: {error}"))?;
    let mut command = Command::new(program);
    command.args(["run", "--upgrade"]).args(arguments).stdin(Stdio::null());
    // Ctrl-C is for us, not for the gateway.
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| format!("the new process cannot be started: {error}"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("the new process ended ({status}); the running one goes on"));
        }
        if take_over::who(socket).await == Some(child.id()) {
            return Ok(child.id());
        }
        if Instant::now() >= deadline {
            return Err(format!("process {} has not taken over within {PATIENCE:?}", child.id()));
        }
        sleep(LOOK_EVERY).await;
    }
}
