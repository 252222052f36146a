//! Opening a state directory: what it holds is restored as far as it is good, and it is made ready for appending.

use std::fs::{self, File, TryLockError};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use vertice_registry_api::Epoch;

use super::ahead::ahead;
use super::files::{self, Found};
use super::image::{Image, Replayed};
use super::journal::Journal;
use super::record::{Flaw, Kind, Records};
use super::{StateError, journal};

/// Generations that a killed process may have given out without having them written: more than any second can give.
const LOST_GENERATIONS: u64 = 100_000_000;

/// An opened directory.
pub(crate) struct Opened {
    /// What was there.
    pub(crate) image: Image,
    /// Where changes go from here on.
    pub(crate) journal: Journal,
    /// Whether the history goes on: the last process stopped in order, and all of it could be read.
    pub(crate) continues: bool,
    /// What an operator should know about what could not be read.
    pub(crate) warnings: Vec<String>,
}

/// What reading gave.
struct Restored {
    image: Image,
    warnings: Vec<String>,
    /// Where appending can go on: this file of changes, up to so many bytes. `None`: a new pair must begin.
    resume: Option<(u64, u64)>,
    /// The number of the snapshot that all of it starts from.
    base: u64,
    /// Something could not be read, so something may be missing.
    flawed: bool,
}

/// Opens `dir`. `new_epoch` is used unless the history continues; generations go on at `first_generation` at least.
pub(crate) fn open(dir: &Path, new_epoch: Epoch, first_generation: u64) -> Result<Opened, StateError> {
    let io = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |error| StateError::Io { what, path, error }
    };
    fs::create_dir_all(dir).map_err(io("make the directory", dir))?;
    let lock_path = dir.join(files::LOCK);
    let lock = files::create(&lock_path).map_err(io("write", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StateError::Taken { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => return Err(io("lock", &lock_path)(error)),
    }
    let found = Found::read(dir).map_err(io("read", dir))?;
    let mut restored = restore(dir, &found, new_epoch)?;
    files::forget_unfinished(dir);
    let continues = restored.image.clean && !restored.flawed;
    let image = &mut restored.image;
    if !continues {
        image.epoch = new_epoch;
        if image.next_generation > 0 {
            image.next_generation = image.next_generation.saturating_add(LOST_GENERATIONS);
        }
    }
    image.next_generation = image.next_generation.max(first_generation);
    image.clean = false;
    let begun = match restored.resume {
        Some((number, good_bytes)) => Journal::resume(dir, lock, number, good_bytes, restored.base, image),
        None => Journal::begin(dir, lock, found.highest() + 1, restored.base, image),
    };
    let journal = begun.map_err(io("write to", dir))?;
    Ok(Opened { image: restored.image, journal, continues, warnings: restored.warnings })
}

fn restore(dir: &Path, found: &Found, new_epoch: Epoch) -> Result<Restored, StateError> {
    let mut restored = Restored {
        image: Image::empty(new_epoch),
        warnings: Vec::new(),
        resume: None,
        base: 0,
        flawed: false,
    };
    let mut whole = None;
    for number in found.snapshots.iter().rev() {
        let path = files::snapshot(dir, *number);
        match File::open(&path).map_err(|e| Flaw::Read(e.to_string())).and_then(|f| {
            ahead(Records::new(BufReader::new(f), Kind::Snapshot)?, |records| Image::read(records))
        }) {
            Ok(image) => {
                whole = Some((*number, image));
                break;
            }
            Err(flaw) => {
                refuse_newer(&flaw, &path)?;
                restored.flawed = true;
                let shown = path.display();
                restored
                    .warnings
                    .push(format!("{shown} cannot be used ({flaw}); the one before it is tried"));
            }
        }
    }
    let Some((base, image)) = whole else {
        refuse_newer_changes(dir, &found.changes)?;
        if !found.snapshots.is_empty() || !found.changes.is_empty() {
            restored.flawed = true;
            let shown = dir.display();
            restored.warnings.push(format!("{shown} has no snapshot that can be used: starting empty"));
        }
        return Ok(restored);
    };
    restored.base = base;
    restored.image = image;
    for number in found.changes.iter().filter(|number| **number >= base) {
        let path = files::changes(dir, *number);
        if !replay(&path, *number, &mut restored)? {
            break;
        }
    }
    if restored.resume.is_some_and(|(number, _)| number != found.highest()) || found.highest() < base {
        // Something newer is there that does not fit: appending below it would be lost beside it.
        restored.resume = None;
    }
    Ok(restored)
}

/// Applies one file; whether the next may follow.
fn replay(path: &Path, number: u64, restored: &mut Restored) -> Result<bool, StateError> {
    let before = restored.image.revision;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Err(StateError::Io { what: "read", path: path.to_owned(), error }),
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let (current, replayed) = match Records::new(BufReader::new(file), Kind::Changes) {
        Ok(records) => (records.is_current(), ahead(records, |records| restored.image.replay(records))),
        Err(flaw) => (false, Replayed { good_bytes: 0, records: 0, flaw: Some(flaw) }),
    };
    // A file without even its head is no place to go on, nor is one of an older format.
    restored.resume = (current && replayed.records > 0).then_some((number, replayed.good_bytes));
    let Some(flaw) = replayed.flaw else { return Ok(true) };
    refuse_newer(&flaw, path)?;
    restored.flawed = true;
    // What stood after the clean end of a process, if anything, is not ours to judge: there is no clean end now.
    restored.warnings.push(format!(
        "{}: the last {} of {length} bytes cannot be used ({flaw}) and are cut off; everything up to revision {} is there ({} changes from this file)",
        path.display(),
        length.saturating_sub(replayed.good_bytes),
        restored.image.revision,
        restored.image.revision.0 - before.0,
    ));
    Ok(false)
}

fn refuse_newer(flaw: &Flaw, path: &Path) -> Result<(), StateError> {
    if let Flaw::Newer(format) = flaw {
        return Err(StateError::Newer { path: path.to_owned(), format: *format });
    }
    Ok(())
}

/// Without any snapshot nothing is replayed, but what a newer version wrote must not be removed for that.
fn refuse_newer_changes(dir: &Path, numbers: &[u64]) -> Result<(), StateError> {
    for number in numbers {
        let path: PathBuf = files::changes(dir, *number);
        let Ok(file) = File::open(&path) else { continue };
        if let Err(flaw) = journal::check_mark(BufReader::new(file)) {
            refuse_newer(&flaw, &path)?;
        }
    }
    Ok(())
}
