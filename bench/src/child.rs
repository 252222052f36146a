//! A program as a child process in a process group of its own: started, read, asked to stop, and never left behind.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// A program that says nothing of itself for this long does not start.
const PATIENCE: Duration = Duration::from_secs(20);

/// For a program to end once it is no longer wanted.
const GRACE: Duration = Duration::from_secs(2);

/// Lines that are kept of one program: its start, and what it complains about first.
const LINES_KEPT: usize = 1000;

/// A running program. Dropping it kills it and all that it has started.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    process: tokio::process::Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Child {
    /// Starts `program` in an environment of only `environment`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (sender, lines) = watch::channel(Vec::new());
        if let Some(stderr) = process.stderr.take() {
            tokio::task::spawn_local(gather(stderr, sender));
        }
        Ok(Self { name, process, lines })
    }

    /// Its process id, while it has not been waited for.
    pub(crate) fn id(&self) -> Result<u32, String> {
        self.process.id().ok_or_else(|| format!("{} has ended", self.name))
    }

    /// The first line, written already or still to come, of which `pick` makes something.
    pub(crate) async fn line<T>(
        &mut self,
        what: &str,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<T, String> {
        let found = self.lines.wait_for(|lines| lines.iter().any(|line| pick(line).is_some()));
        let found = match timeout(PATIENCE, found).await {
            Ok(Ok(lines)) => lines.iter().find_map(|line| pick(line)),
            Ok(Err(_)) | Err(_) => None,
        };
        found.ok_or_else(|| format!("{} does not say {what}; it wrote:\n{}", self.name, self.text()))
    }

    /// What it has written to standard error so far.
    pub(crate) fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// SIGTERM, and waits until it has ended; what it wrote.
    pub(crate) async fn stop(self, limit: Duration) -> Result<String, String> {
        if let Some(pid) = self.pid() {
            kill_process(pid, Signal::TERM).map_err(|error| format!("{}: {error}", self.name))?;
        }
        self.ended(limit).await
    }

    /// Waits until it has ended well by itself; what it wrote.
    pub(crate) async fn ended(mut self, limit: Duration) -> Result<String, String> {
        let ended = timeout(limit, self.process.wait()).await;
        // Its pipe is closed now: the reader ends after the last line.
        while matches!(timeout(GRACE, self.lines.changed()).await, Ok(Ok(()))) {}
        match ended {
            Ok(Ok(status)) if status.success() => Ok(self.text()),
            Ok(Ok(status)) => Err(format!("{} ended with {status}:\n{}", self.name, self.text())),
            Ok(Err(error)) => Err(format!("{} was lost: {error}", self.name)),
            Err(_) => Err(format!("{} does not end within {limit:?}", self.name)),
        }
    }

    /// SIGKILL, as in a crash, and waits until it has ended.
    pub(crate) async fn kill(mut self) -> Result<(), String> {
        self.process.kill().await.map_err(|error| format!("{} cannot be killed: {error}", self.name))
    }

    /// Sends `signal`, as SIGSTOP and SIGCONT are.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = self.pid().ok_or_else(|| format!("{} has ended", self.name))?;
        kill_process(pid, signal).map_err(|error| format!("{}: {error}", self.name))
    }

    /// Waits without the runtime, which may be ending itself.
    #[allow(
        clippy::disallowed_methods,
        reason = "dropping cannot await, and what is measured is over by then"
    )]
    fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let over = !matches!(self.process.try_wait(), Ok(None));
            if over || Instant::now() >= deadline {
                return over;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn pid(&self) -> Option<Pid> {
        // None after it was waited for: then the number may be a stranger's.
        self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        // Asked first, because nginx waits for its workers then: those of a killed master stay as zombies wherever
        // process 1 does not wait for strangers, as in many containers.
        let _ = kill_process(pid, Signal::TERM);
        if !self.ends_within(GRACE) {
            // The group: whatever it has started ends with it.
            let _ = kill_process_group(pid, Signal::KILL);
            self.ends_within(GRACE);
        }
    }
}

async fn gather(from: impl AsyncRead + Unpin, to: watch::Sender<Vec<String>>) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        to.send_modify(|kept| {
            if kept.len() < LINES_KEPT {
                kept.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }
}
