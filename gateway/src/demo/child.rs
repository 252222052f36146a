//! A program of ours as a child process: its log in a file, its end in our hands.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::timeout;

use super::wait::{Missing, until};

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    log: PathBuf,
    /// Where this run's part of the log begins: a part that is started again writes on in the same file.
    log_from: usize,
}

impl Child {
    /// Starts `program` with `arguments` and nothing but `environment`; its words go to `NAME.log` in `logs`.
    ///
    /// It gets a process group of its own: Ctrl-C in the terminal reaches us alone, and the order of the end is ours.
    pub(super) fn start(
        program: &Path,
        name: &str,
        logs: &Path,
        arguments: &[String],
        environment: &[(&str, String)],
    ) -> Result<Self, String> {
        let log = logs.join(format!("{name}.log"));
        let log_from = read(&log).len();
        let opened = OpenOptions::new().create(true).append(true).open(&log);
        let file = opened.map_err(|error| format!("{}: {error}", log.display()))?;
        let copy = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        let process = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        Ok(Self { name: name.to_owned(), process, log, log_from })
    }

    /// The `address=` of the first log line that contains `marker`, once it is there.
    pub(super) async fn logged_address(
        &mut self,
        marker: &str,
        limit: Duration,
    ) -> Result<SocketAddr, String> {
        until(limit, async || {
            // Asked before the log is read: what an ended program wrote is then all there.
            let ended = self.ended();
            match (address_in(&self.written(), marker), ended) {
                (Some(address), _) => Ok(address),
                (None, Some(ended)) => Err(Missing::ForEver(ended)),
                (None, None) => Err(Missing::Yet(format!("{} does not say where it listens", self.name))),
            }
        })
        .await
    }

    /// What this run's first line that contains `words` says from there on.
    pub(super) fn logged(&self, words: &str) -> Option<String> {
        let written = self.written();
        written.lines().find_map(|line| Some(line.get(line.find(words)?..)?.to_owned()))
    }

    /// If it has ended: how, with its last words.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = match self.process.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let written = self.written();
        let last = written.lines().next_back().unwrap_or("it wrote nothing");
        Some(format!("{} ended by itself ({status}): {last}", self.name))
    }

    /// SIGTERM, then its end; killed if that takes longer than `limit`.
    pub(super) async fn stop(mut self, limit: Duration) -> Result<(), String> {
        if let Some(ended) = self.ended() {
            return Err(ended);
        }
        self.signal(Signal::TERM)?;
        match timeout(limit, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{} stopped with {status}", self.name)),
            Ok(Err(error)) => Err(format!("{} was lost: {error}", self.name)),
            Err(_) => {
                let name = self.name.clone();
                self.kill().await?;
                Err(format!("{name} did not stop within {limit:?} and was killed"))
            }
        }
    }

    /// SIGKILL, then its end.
    pub(super) async fn kill(mut self) -> Result<(), String> {
        self.process.kill().await.map_err(|error| format!("{} cannot be killed: {error}", self.name))
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        // A child that was waited for has no id any more, so the signal never reaches a stranger.
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { return Ok(()) };
        kill_process(id, signal).map_err(|error| format!("{} cannot be signalled: {error}", self.name))
    }

    /// What this run wrote so far.
    fn written(&self) -> String {
        read(&self.log).get(self.log_from..).unwrap_or_default().to_owned()
    }
}

/// A log that cannot be read is an empty one: whoever waits for a line of it says so.
fn read(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    // Byte for byte, so that an offset into it stays one.
    bytes.into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
}

fn address_in(log: &str, marker: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(marker))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_marked_line_only() {
        let log = "INFO admin listening address=127.0.0.1:1\nINFO listening listener=\"main\" address=127.0.0.1:2\n";
        assert_eq!(address_in(log, "admin listening "), Some(([127, 0, 0, 1], 1).into()));
        assert_eq!(address_in(log, "listening listener="), Some(([127, 0, 0, 1], 2).into()));
        assert_eq!(address_in(log, "the registry listens "), None);
        assert_eq!(address_in("listening address=soon", "listening"), None);
    }

    fn shell(script: &str, logs: &Path) -> Child {
        let arguments = ["-c".to_owned(), script.to_owned()];
        Child::start(Path::new("/bin/sh"), "shell", logs, &arguments, &[("WORD", "given".into())]).unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_before_it_listens_is_reported_with_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let mut child = shell("echo first; echo $WORD $PATH >&2; exit 3", logs.path());
        let error = child.logged_address("listening", Duration::from_mins(1)).await.unwrap_err();
        assert!(error.contains("given") && error.contains("status: 3"), "{error}");
        // The next run does not take the first one's words for its own.
        let mut again = shell("echo listening address=127.0.0.1:7; exec sleep 60", logs.path());
        let address = again.logged_address("listening", Duration::from_mins(1)).await.unwrap();
        assert_eq!(address.port(), 7);
        assert!(again.stop(Duration::from_mins(1)).await.unwrap_err().contains("signal: 15"));
    }
}
