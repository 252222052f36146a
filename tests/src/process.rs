//! A real program of ours as a child process: started from the target directory, read, signalled, and never left behind.

use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// Lines kept of one program for the report of a failure.
const LINES_KEPT: usize = 10_000;

/// A running program. Dropping it kills it; dropping it in a panic prints what it wrote.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

/// What a program that has ended by itself leaves.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything that it wrote, standard output and standard error.
    pub text: String,
}

impl Program {
    /// Starts `name` with `arguments` in an environment of only `environment`.
    pub fn start(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(path_of(name));
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null());
        Self::spawn(name, command)
    }

    /// Starts `name` as systemd does: with a listening socket as descriptor 3, under the name `listener`.
    pub fn start_activated(
        name: &str,
        arguments: &[&str],
        socket: impl Into<std::os::fd::OwnedFd>,
        listener: &str,
    ) -> Self {
        // The number of the process has to be in its environment: a shell knows its own, and becomes the program.
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(path_of(name)).args(arguments);
        command.env_clear().env("LISTEN_FDNAMES", listener).stdin(Stdio::from(socket.into()));
        Self::spawn(name, command)
    }

    fn spawn(name: &str, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let (sender, lines) = watch::channel(Vec::new());
        let sender = Arc::new(Mutex::new(sender));
        tokio::spawn(gather(child.stdout.take().unwrap(), sender.clone()));
        tokio::spawn(gather(child.stderr.take().unwrap(), sender));
        Self { name: name.to_owned(), child, lines }
    }

    /// Runs `name` to its end.
    pub async fn run(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        Self::start(name, arguments, environment).ended().await
    }

    /// The first line, already written or still to come, of which `pick` makes something.
    pub async fn line<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let name = self.name.clone();
        let mut lines = self.lines.clone();
        let found = lines.wait_for(|lines| lines.iter().any(|line| pick(line).is_some()));
        match timeout(PATIENCE, found).await {
            Ok(Ok(lines)) => lines.iter().find_map(|line| pick(line)).unwrap(),
            Ok(Err(_)) => panic!("{name} ended without a line about {what}"),
            Err(late) => panic!("{late}: {name} wrote no line about {what} within {PATIENCE:?}"),
        }
    }

    /// What it wrote so far.
    pub fn text(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        // A child that was waited for has no id any more, so the signal can never reach a stranger.
        let id = self.child.id().unwrap_or_else(|| panic!("{} has ended already", self.name));
        let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Waits for its end by itself.
    pub async fn ended(mut self) -> Ended {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} does not end", self.name)).unwrap();
        // Both pipes are closed now; the readers end after the last line.
        while timeout(PATIENCE, self.lines.changed()).await.is_ok_and(|more| more.is_ok()) {}
        Ended { status, text: self.text() }
    }

    /// SIGTERM, then its end.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGKILL, then its end.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- what {} wrote ----\n{}\n----", self.name, self.text());
        }
    }
}

/// Where the program `name` was built: beside the folder that this test's executable is in.
pub fn path_of(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().and_then(|deps| deps.parent()).unwrap().join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

async fn gather(from: impl AsyncRead + Unpin, to: Arc<Mutex<watch::Sender<Vec<String>>>>) {
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        to.lock().unwrap().send_modify(|kept| {
            if kept.len() < LINES_KEPT {
                kept.push(line);
            }
        });
    }
}
