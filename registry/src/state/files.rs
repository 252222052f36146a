//! The files of a state directory: their names, and making one so that it is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Kept by the process that uses the directory.
pub(super) const LOCK: &str = "lock";
const SNAPSHOT: &str = "snapshot-";
const CHANGES: &str = "changes-";
const UNFINISHED: &str = ".unfinished";

pub(super) fn snapshot(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{SNAPSHOT}{number:08}"))
}

pub(super) fn changes(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{CHANGES}{number:08}"))
}

/// Numbers of what is there, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) snapshots: Vec<u64>,
    pub(super) changes: Vec<u64>,
}

impl Found {
    /// Reads the directory. Files that are none of ours are left alone.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let number =
                |prefix: &str| name.strip_prefix(prefix).and_then(|digits| digits.parse::<u64>().ok());
            found.snapshots.extend(number(SNAPSHOT));
            found.changes.extend(number(CHANGES));
        }
        found.snapshots.sort_unstable();
        found.changes.sort_unstable();
        Ok(found)
    }

    pub(super) fn highest(&self) -> u64 {
        self.snapshots.last().max(self.changes.last()).copied().unwrap_or(0)
    }
}

/// For reading and appending; nobody else may read it, because labels can be private.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).truncate(false).mode(0o600).open(path)
}

/// Makes `path` with what `fill` writes, whole or not at all. Its size.
pub(super) fn make(
    path: &Path,
    fill: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> io::Result<u64> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let made = write_whole(&unfinished, fill).and_then(|bytes| {
        fs::rename(&unfinished, path)?;
        sync_dir(path)?;
        Ok(bytes)
    });
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made
}

fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> io::Result<u64> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    let mut writer = io::BufWriter::with_capacity(256 * 1024, file);
    fill(&mut writer)?;
    writer.flush()?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Makes the name of `path` as lasting as its content.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes pairs below `number`, and what a killed process did not finish. What cannot be removed stays.
pub(super) fn forget_below(dir: &Path, number: u64) {
    let Ok(found) = Found::read(dir) else { return };
    for old in found.snapshots.into_iter().filter(|n| *n < number) {
        let _ = fs::remove_file(snapshot(dir, old));
    }
    for old in found.changes.into_iter().filter(|n| *n < number) {
        let _ = fs::remove_file(changes(dir, old));
    }
}

/// Removes what a killed process did not finish.
pub(super) fn forget_unfinished(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
