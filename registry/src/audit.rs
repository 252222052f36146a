//! Who changed what by hand: every administrative change, for people, in memory and in `audit.jsonl`.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::Revision;

/// Changes that can be asked for; what is older stands in the file.
pub(crate) const SHOWN: usize = 1000;
/// The file is put aside as `audit.jsonl.1` beyond this, in the place of the one put aside before.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Lines on their way to the disk. Operators are people (or scripts that wait for an answer).
const QUEUED: usize = 1000;
const NAME: &str = "audit.jsonl";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// The principal.
    pub(crate) who: String,
    /// The address that it came from.
    pub(crate) from: Option<SocketAddr>,
    /// `override`, `remove` or `release`.
    pub(crate) action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    pub(crate) before: String,
    pub(crate) after: String,
    /// The revision after it.
    pub(crate) revision: Revision,
}

/// The last changes, and the way to the file.
#[derive(Debug)]
pub(crate) struct Audit {
    recent: Mutex<VecDeque<Entry>>,
    lines: Option<mpsc::Sender<Vec<u8>>>,
}

/// The end of the way: to be run until the process stops.
#[derive(Debug)]
pub(crate) struct AuditFile {
    dir: PathBuf,
    lines: mpsc::Receiver<Vec<u8>>,
}

impl Audit {
    /// Remembers in memory only.
    pub(crate) fn in_memory() -> Self {
        Self { recent: Mutex::default(), lines: None }
    }

    /// Goes on with what is in `dir`.
    pub(crate) fn open(dir: &Path) -> (Self, AuditFile) {
        let text = fs::read_to_string(dir.join(NAME)).unwrap_or_default();
        // A line that a crash cut is none.
        let mut recent: VecDeque<Entry> =
            text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).take(SHOWN).collect();
        recent.make_contiguous().reverse();
        let (sender, lines) = mpsc::channel(QUEUED);
        (Self { recent: Mutex::new(recent), lines: Some(sender) }, AuditFile { dir: dir.to_owned(), lines })
    }

    /// Takes `entry` in; it is on the disk a moment later.
    pub(crate) fn note(&self, entry: Entry) {
        let from = entry.from.map(|from| from.to_string()).unwrap_or_default();
        tracing::info!(
            who = entry.who,
            from,
            action = entry.action,
            service = entry.service.as_deref().unwrap_or_default(),
            instance = entry.instance_id.as_deref().unwrap_or_default(),
            before = entry.before,
            after = entry.after,
            "an operator changed something"
        );
        if let Some(lines) = &self.lines {
            let mut line = serde_json::to_vec(&entry).unwrap_or_default();
            line.push(b'\n');
            if lines.try_send(line).is_err() {
                tracing::error!("the audit file does not keep up: the change above is not in it");
            }
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(entry);
        while recent.len() > SHOWN {
            recent.pop_front();
        }
    }

    /// The last ones that `may_see` lets through, the newest last.
    pub(crate) fn recent(&self, may_see: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().filter(|entry| may_see(entry)).cloned().collect()
    }
}

impl AuditFile {
    /// Writes until `shutdown`, then what is still queued.
    pub(crate) async fn write(mut self, mut shutdown: Shutdown) {
        loop {
            let line = tokio::select! {
                line = self.lines.recv() => line,
                () = shutdown.pulled(), if !self.lines.is_closed() => {
                    self.lines.close();
                    continue;
                }
            };
            let Some(line) = line else { return };
            let path = self.dir.join(NAME);
            let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
            if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
                tracing::error!(%error, "the audit file cannot be written: the change is in this log only");
            }
        }
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() > FILE_BYTES) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
    }
    let mut file: File = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    // The line of a crash that was cut ends before this one begins.
    if file.metadata()?.len() > 0 && !ends_a_line(path)? {
        file.write_all(b"\n")?;
    }
    file.write_all(line)?;
    file.sync_data()
}

fn ends_a_line(path: &Path) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _};
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vertice_process::shutdown::ShutdownTrigger;

    fn entry(number: u64) -> Entry {
        Entry {
            at_ms: number,
            who: "ops".into(),
            from: None,
            action: "override".into(),
            service: Some("osint_service".into()),
            instance_id: Some("h:1".into()),
            generation: Some(7),
            before: "none".into(),
            after: "down".into(),
            revision: Revision(number),
        }
    }

    #[tokio::test]
    async fn what_was_noted_is_there_after_a_restart_also_after_a_cut_line() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let (audit, file) = Audit::open(dir.path());
            assert_eq!(audit.recent(|_| true), (0..round).map(entry).collect::<Vec<_>>());
            let trigger = ShutdownTrigger::new();
            audit.note(entry(round));
            trigger.pull();
            file.write(trigger.handle()).await;
            let mut file = OpenOptions::new().append(true).open(dir.path().join(NAME)).unwrap();
            file.write_all(b"{\"at_ms\":").unwrap();
        }
    }

    #[test]
    fn it_is_bounded_and_shows_what_one_may_see() {
        let audit = Audit::in_memory();
        for number in 0..1500 {
            audit.note(entry(number));
        }
        let seen = audit.recent(|entry| entry.at_ms % 2 == 0);
        assert_eq!((seen.len(), seen[0].at_ms, seen[499].at_ms), (500, 500, 1498));
    }

    #[test]
    fn a_large_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        File::create(&path).unwrap().set_len(FILE_BYTES + 1).unwrap();
        append(&path, b"x\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"x\n");
        assert!(dir.path().join("audit.jsonl.1").exists());
    }
}
