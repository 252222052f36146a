//! Noticing that files have changed, by looking at them twice a second.
//!
//! Looking instead of being told (inotify): it sees what a mounted secret does (a link that is turned elsewhere), what
//! happens on network file systems, and files that do not exist yet; a look costs a `stat` per file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Between two looks.
const PULSE: Duration = Duration::from_millis(500);

/// Something made of files.
pub trait Watched: Send + Sync + 'static {
    /// How its files are now.
    fn look(&self) -> Look;
    /// What was loaded when.
    fn state(&self) -> &Mutex<WatchState>;
    /// Loads them again. What goes wrong stays inside: what was loaded before is kept, and somebody is told.
    fn reload(&self);
}

/// How a set of files was at one moment: enough to notice that one is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Look {
    /// At these files and at everything in this folder.
    pub fn at<'a>(files: impl Iterator<Item = &'a Path>, folder: Option<&Path>) -> Self {
        let mut all: Vec<PathBuf> = files.map(Path::to_owned).collect();
        if let Some(folder) = folder {
            all.push(folder.to_owned());
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            all.extend(entries.map(|entry| entry.path()));
        }
        all.sort_unstable();
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self(all.into_iter().map(stamped).collect())
    }
}

/// Follows links.
fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        inode: meta.ino(),
        bytes: meta.size(),
        modified_s: meta.mtime(),
        modified_ns: meta.mtime_nsec(),
    })
}

/// Decides when to load: once what is there differs from what was loaded and stands still, since a chain and its key are
/// two files that nobody writes at once.
#[derive(Debug, Default)]
pub struct WatchState {
    loaded: Look,
    last: Look,
}

impl WatchState {
    /// `loaded` is how the files were before they were read.
    pub fn new(loaded: Look) -> Self {
        Self { last: loaded.clone(), loaded }
    }

    /// Whether to load now.
    pub fn step(&mut self, now: Look) -> bool {
        let settled = now == self.last;
        if now == self.loaded || !settled {
            self.last = now;
            return false;
        }
        self.loaded = now;
        true
    }
}

/// Watches for as long as `target` lives.
pub async fn watch<T: Watched + ?Sized>(target: Weak<T>) {
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        let Some(target) = target.upgrade() else { return };
        // Disks can be slow; the control side has one thread.
        let looked = tokio::task::spawn_blocking(move || {
            let look = target.look();
            let changed = target.state().lock().unwrap_or_else(PoisonError::into_inner).step(look);
            if changed {
                target.reload();
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking at certificates failed; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        Look(vec![(PathBuf::from("/a"), Some(Stamp { inode: 1, bytes, modified_s: 0, modified_ns: 0 }))])
    }

    #[test]
    fn loads_once_when_a_change_stands_still() {
        let mut state = WatchState::new(look(1));
        let asked: Vec<bool> =
            [1, 2, 3, 3, 3, 1, 1, 1].into_iter().map(|bytes| state.step(look(bytes))).collect();
        assert_eq!(asked, [false, false, false, true, false, false, true, false]);
    }

    #[test]
    fn a_file_that_is_replaced_or_turned_elsewhere_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "x").unwrap();
        std::fs::write(at("b"), "y").unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let link = at("link");
        let now = || Look::at([link.as_path()].into_iter(), None);
        let before = now();
        assert_eq!(before, now());
        std::fs::remove_file(&link).unwrap();
        assert_ne!(before, now());
        std::os::unix::fs::symlink(at("b"), &link).unwrap();
        assert_ne!(before, now());
        let folder = || Look::at(std::iter::empty(), Some(dir.path()));
        let before = folder();
        std::fs::write(at("c"), "").unwrap();
        assert_ne!(before, folder());
    }
}
