//! What survives a restart: a snapshot and the changes since, in a directory of their own (`--state-dir`).
//!
//! `snapshot-N` holds everything at one revision, `changes-N` what came after it. A new pair begins when the changes
//! have grown; the pair before is kept, so that a snapshot that turns out to be unreadable costs nothing. Records have a
//! length and a checksum (see `frames`), so that a torn end is told from a whole one. Tokens are not in it.

mod record;
mod frames;
mod lines;
mod ahead;
mod image;
mod files;
mod open;
mod journal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub(crate) use journal::{Journal, Piece, SnapshotDone, Whole};
pub(crate) use open::{Opened, open};

/// Why a state directory cannot be used.
#[derive(Debug)]
pub enum StateError {
    /// It cannot be made, read or written.
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        error: std::io::Error,
    },
    /// Another process has it.
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// A newer version of the registry wrote it.
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: u64,
    },
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, error } => write!(
                f,
                "cannot {what} {}: {error}; --state-dir needs a directory that this user may write to, on a disk with room",
                path.display()
            ),
            Self::Taken { path } => write!(
                f,
                "another registry runs with the state directory {}: stop it or choose another one with --state-dir",
                path.display()
            ),
            Self::Newer { path, format } => write!(
                f,
                "{} was written by a newer version (format {format}, this one knows {}): start that version, or choose another directory with --state-dir; nothing was changed",
                path.display(),
                record::FORMAT
            ),
        }
    }
}

impl std::error::Error for StateError {}
