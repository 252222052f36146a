//! The lines of the state files: a mark that names kind and format, then records, each `CHECKSUM JSON`.
//!
//! The checksum is the first 64 bits of the SHA-256 of the JSON. It is there for torn writes and rotten disks, not
//! against somebody who may write to the directory.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Revision, ServiceName};

/// What this version writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 1;
/// Hexadecimal digits of a checksum.
const SUM_CHARS: usize = 16;
/// No record is longer: an instance is a few KiB at most. Bounds what a file without line ends costs.
const LINE_BYTES: u64 = 256 * 1024;

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot,
    Changes,
}

/// One record; `I` is an [`Instance`] when read and a reference to one when written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Record<I> {
    /// The first of a snapshot.
    State { epoch: Epoch, revision: Revision, next_generation: u64 },
    /// An instance in a snapshot.
    Row { handle: Option<u32>, instance: I },
    /// The last of a snapshot.
    End { instances: u64 },
    /// The first of changes: they follow this revision.
    After { revision: Revision },
    /// A process began to write here.
    Start { epoch: Epoch, next_generation: u64 },
    /// An instance is new or different.
    Upsert { revision: Revision, handle: Option<u32>, instance: I },
    /// An instance is gone.
    Remove {
        revision: Revision,
        service: ServiceName,
        instance_id: InstanceId,
        generation: u64,
        reason: RemovalReason,
    },
    /// The process stopped in order: nothing is missing.
    Clean { revision: Revision, next_generation: u64 },
}

/// Why a file cannot be read (further).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It ends in the middle of a line.
    Torn,
    /// A line is not what was written.
    Checksum,
    /// The record is whole, but no such record can be here.
    Unexpected(String),
    /// The system cannot read it.
    Read(String),
    /// A newer version wrote it.
    Newer(u64),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Torn => f.write_str("it ends in the middle of a record"),
            Self::Checksum => f.write_str("a record's checksum is wrong"),
            Self::Unexpected(what) => f.write_str(what),
            Self::Read(error) => f.write_str(error),
            Self::Newer(format) => write!(f, "it has the newer format {format}"),
        }
    }
}

/// The first line of a file of `kind`.
pub(super) fn mark(kind: Kind) -> String {
    format!("{} {FORMAT}\n", mark_text(kind))
}

fn mark_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Snapshot => "vertice-registry snapshot, format",
        Kind::Changes => "vertice-registry changes, format",
    }
}

/// Appends `record` as a line.
pub(super) fn append(record: &Record<&Instance>, text: &mut Vec<u8>) {
    let start = text.len();
    text.extend_from_slice(&[b' '; SUM_CHARS + 1]);
    // Writing to a Vec does not fail, and records have string keys only.
    let _ = serde_json::to_writer(&mut *text, record);
    let sum = checksum(text.get(start + SUM_CHARS + 1..).unwrap_or_default());
    if let Some(place) = text.get_mut(start..start + SUM_CHARS) {
        place.copy_from_slice(sum.as_bytes());
    }
    text.push(b'\n');
}

fn checksum(json: &[u8]) -> String {
    let hash = Sha256::digest(json);
    let sum = hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{sum:0SUM_CHARS$x}")
}

/// The records of one file, one by one.
pub(super) struct Records<R> {
    reader: R,
    line: Vec<u8>,
    /// Up to the end of the last good line.
    good_bytes: u64,
}

impl<R: BufRead> Records<R> {
    /// Checks the first line.
    pub(super) fn new(reader: R, kind: Kind) -> Result<Self, Flaw> {
        let mut records = Self { reader, line: Vec::new(), good_bytes: 0 };
        if !records.read_line()? {
            return Err(Flaw::Torn);
        }
        let text = std::str::from_utf8(&records.line).unwrap_or_default();
        let format = text.strip_prefix(mark_text(kind)).and_then(|rest| rest.strip_prefix(' ')?.parse().ok());
        match format {
            Some(FORMAT) => {
                records.accept();
                Ok(records)
            }
            Some(newer) if newer > FORMAT => Err(Flaw::Newer(newer)),
            _ => Err(Flaw::Unexpected("it does not begin as a file of this kind".into())),
        }
    }

    /// The next record; `None` at the end. After a flaw nothing more is to be read.
    pub(super) fn next(&mut self) -> Result<Option<Record<Instance>>, Flaw> {
        if !self.read_line()? {
            return Ok(None);
        }
        let (sum, json) = self.line.split_at_checked(SUM_CHARS).ok_or(Flaw::Checksum)?;
        let json = json.strip_prefix(b" ").ok_or(Flaw::Checksum)?;
        if sum != checksum(json).as_bytes() {
            return Err(Flaw::Checksum);
        }
        let record = serde_json::from_slice(json).map_err(|error| Flaw::Unexpected(error.to_string()))?;
        Ok(Some(record))
    }

    /// Says that the last record was good.
    pub(super) fn accept(&mut self) {
        self.good_bytes += u64::try_from(self.line.len()).unwrap_or(u64::MAX) + 1;
    }

    pub(super) fn good_bytes(&self) -> u64 {
        self.good_bytes
    }

    /// Whether there is a line, which is then in `self.line` without its end.
    fn read_line(&mut self) -> Result<bool, Flaw> {
        self.line.clear();
        let mut limited = self.reader.by_ref().take(LINE_BYTES);
        let read =
            limited.read_until(b'\n', &mut self.line).map_err(|e: io::Error| Flaw::Read(e.to_string()))?;
        if read == 0 {
            return Ok(false);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(Flaw::Torn);
        }
        Ok(true)
    }
}
