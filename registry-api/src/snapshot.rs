//! `GET /v1/snapshot`: NDJSON of a head, one line per instance, and a trailer that proves completeness.
//!
//! A snapshot without its trailer, or whose count or digest differs, must not be applied.

use serde::{Deserialize, Serialize};

use crate::digest::SetDigest;
use crate::instance::Instance;
use crate::position::{Epoch, Position, Revision, SourceState};

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Where in history.
    pub epoch: Epoch,
    /// Where in history.
    pub revision: Revision,
    /// What the registry says of itself.
    pub state: SourceState,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTrailer {
    /// How many instance lines came before.
    pub count: u64,
    /// Of those lines' instances.
    pub digest: SetDigest,
}

/// A whole, checked snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where in history.
    pub position: Position,
    /// What the registry says of itself.
    pub state: SourceState,
    /// All instances.
    pub instances: Vec<Instance>,
    /// Of all instances.
    pub digest: SetDigest,
}

/// Why a snapshot was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Nothing there.
    Empty,
    /// A line (counted from 1) is not what it should be.
    Line {
        /// Which.
        number: usize,
        /// Why.
        reason: String,
    },
    /// No trailer: the answer was cut.
    NoTrailer,
    /// The trailer counts another number of lines.
    Count {
        /// By the trailer.
        said: u64,
        /// Received.
        got: u64,
    },
    /// The digest differs: something was changed or lost on the way.
    Digest,
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the snapshot is empty: not even a head"),
            Self::Line { number, reason } => write!(f, "snapshot line {number}: {reason}"),
            Self::NoTrailer => f.write_str("the snapshot has no trailer: it was cut off"),
            Self::Count { said, got } => write!(f, "the trailer counts {said} instances, {got} came"),
            Self::Digest => f.write_str("the snapshot's digest is not that of its instances"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl Snapshot {
    /// Reads a whole NDJSON answer; any doubt is an error.
    pub fn parse(text: &[u8]) -> Result<Self, SnapshotError> {
        let line_error = |number: usize, reason: String| SnapshotError::Line { number, reason };
        let mut lines = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).enumerate();
        let (_, first) = lines.next().ok_or(SnapshotError::Empty)?;
        let head: SnapshotHead = serde_json::from_slice(first).map_err(|e| line_error(1, e.to_string()))?;
        let mut instances = Vec::new();
        let mut digest = SetDigest::default();
        while let Some((index, line)) = lines.next() {
            if let Ok(trailer) = serde_json::from_slice::<SnapshotTrailer>(line) {
                if lines.next().is_some() {
                    return Err(line_error(index + 2, "bytes after the trailer".into()));
                }
                let got = u64::try_from(instances.len()).unwrap_or(u64::MAX);
                if trailer.count != got {
                    return Err(SnapshotError::Count { said: trailer.count, got });
                }
                if trailer.digest != digest {
                    return Err(SnapshotError::Digest);
                }
                let position = Position { epoch: head.epoch, revision: head.revision };
                return Ok(Self { position, state: head.state, instances, digest });
            }
            let instance: Instance =
                serde_json::from_slice(line).map_err(|e| line_error(index + 1, e.to_string()))?;
            digest.add(&instance);
            instances.push(instance);
        }
        Err(SnapshotError::NoTrailer)
    }
}
