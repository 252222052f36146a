//! Notices that the configuration file is another one: a look each second, on a thread of its own.
//!
//! Why a look and not inotify: docs/decisions/0009-looking-at-the-config-file.md.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells two states of a file apart. Symbolic links are followed: where the file is swapped by turning a link, as
/// Kubernetes does, it has another inode.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// When to say that the file has changed. Pure.
#[derive(Debug)]
struct Debounce {
    /// What was last said, or was there at the start.
    told: Option<Stamp>,
    /// What the last look saw.
    seen: Option<Stamp>,
}

impl Debounce {
    fn new(stamp: Option<Stamp>) -> Self {
        Self { told: stamp, seen: stamp }
    }

    /// Takes a look's finding in; whether to say so. Only what two looks in a row have seen alike counts: an editor may be
    /// in the middle of writing. A file that is gone for now is no change.
    fn look(&mut self, stamp: Option<Stamp>) -> bool {
        let quiet = stamp.is_some() && stamp == self.seen;
        self.seen = stamp;
        let says = quiet && stamp != self.told;
        if says {
            self.told = stamp;
        }
        says
    }
}

/// A running watch; the thread ends when it is dropped.
#[derive(Debug)]
pub struct FileWatch {
    changed: mpsc::Receiver<()>,
    _stop: SyncSender<()>,
}

impl FileWatch {
    /// Watches `path`.
    pub fn start(path: &Path) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let (sender, changed) = mpsc::channel(1);
        let path = path.to_owned();
        // Taken here: what is written from now on is a change.
        let debounce = Debounce::new(stamp(&path));
        std::thread::Builder::new()
            .name("config-watch".into())
            .spawn(move || look(&path, debounce, &stopped, &sender))?;
        Ok(Self { changed, _stop: stop })
    }

    /// Returns once the file has changed and is quiet again. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

fn look(path: &Path, mut debounce: Debounce, stopped: &Receiver<()>, changed: &mpsc::Sender<()>) {
    while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        if debounce.look(stamp(path)) {
            // Full: it is going to be read anyway.
            let _ = changed.try_send(());
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    // The time of change of the inode is there for tools that set the time of writing back.
    Some((
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec(),
        data.ctime(),
        data.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_the_file_is_quiet() {
        let stamp = |size: u64| Some((0, 0, size, 0, 0, 0, 0));
        for (looks, told) in [
            (vec![stamp(1), stamp(1)], vec![false, false]),
            (vec![stamp(2), stamp(2), stamp(2)], vec![false, true, false]),
            // Growing: it is being written.
            (vec![stamp(2), stamp(3), stamp(4), stamp(4)], vec![false, false, false, true]),
            // Gone for a moment, and back as it was.
            (vec![None, None, stamp(1), stamp(1)], vec![false; 4]),
            (vec![None, stamp(2), stamp(2)], vec![false, false, true]),
            // Changed, and changed back.
            (vec![stamp(2), stamp(2), stamp(1), stamp(1)], vec![false, true, false, true]),
        ] {
            let mut debounce = Debounce::new(stamp(1));
            let said: Vec<bool> = looks.iter().map(|look| debounce.look(*look)).collect();
            assert_eq!(said, told, "{looks:?}");
        }
        let mut absent = Debounce::new(None);
        assert_eq!([stamp(1), stamp(1)].map(|look| absent.look(look)), [false, true]);
    }

    #[test]
    fn a_file_that_is_replaced_or_rewritten_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "a").unwrap();
        let before = stamp(&path);
        let other = folder.path().join("b.toml");
        fs::write(&other, "b").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(stamp(&path), before);
        assert_eq!(stamp(&other), None);
    }
}
