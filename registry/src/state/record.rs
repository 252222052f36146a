//! What the state files say: a first line that names kind and format, then records.
//!
//! Format 2 is in `frames`, format 1 in `lines`. Checksums are the first 64 bits of SHA-256: they are there for torn writes
//! and rotten disks, not against somebody who may write to the directory.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Epoch, Instance, InstanceId, Revision, ServiceName};

use super::{frames, lines};
use crate::store::{Kinds, Packed};

/// What this version writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 2;
/// No first line is longer.
const MARK_BYTES: u64 = 100;

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot,
    Changes,
}

/// An instance in a file, with its part in the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) handle: Option<u32>,
    pub(super) packed: Packed,
    pub(super) digest: SetDigest,
}

impl Row {
    pub(super) fn new(handle: Option<u32>, packed: Packed, instance: &Instance) -> Self {
        Self { handle, packed, digest: SetDigest::of([instance]) }
    }
}

/// What a file says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Instances in a snapshot.
    Rows(Vec<Row>),
    /// An instance is new or different.
    Upsert { revision: Revision, row: Row },
    /// Anything else.
    Note(Note),
}

/// A record that is not about the content of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Note {
    /// The first of a snapshot.
    State { epoch: Epoch, revision: Revision, next_generation: u64 },
    /// The last of a snapshot.
    End { instances: u64 },
    /// The first of changes: they follow this revision.
    After { revision: Revision },
    /// A process began to write here.
    Start { epoch: Epoch, next_generation: u64 },
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
    /// It ends in the middle of a record.
    Torn,
    /// A record is not what was written.
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

/// The first 64 bits of SHA-256.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The records of one file in their order. Ends with the first flaw.
pub(super) struct Records<R> {
    reader: R,
    format: u64,
    buffer: Vec<u8>,
    kinds: Kinds,
    /// Up to the end of the last record.
    good_bytes: u64,
    flawed: bool,
}

/// A record, and up to where the file is good with it.
pub(super) type Reached = (Record, u64);

impl<R: BufRead> Records<R> {
    /// Checks the first line.
    pub(super) fn new(mut reader: R, kind: Kind) -> Result<Self, Flaw> {
        let mut buffer = Vec::new();
        if !lines::read(&mut reader, &mut buffer, MARK_BYTES)? {
            return Err(Flaw::Torn);
        }
        let text = std::str::from_utf8(&buffer).unwrap_or_default();
        let format = text.strip_prefix(mark_text(kind)).and_then(|rest| rest.strip_prefix(' ')?.parse().ok());
        let good_bytes = u64::try_from(buffer.len()).unwrap_or(u64::MAX) + 1;
        match format {
            Some(format @ 1..=FORMAT) => {
                Ok(Self { reader, format, buffer, kinds: Kinds::default(), good_bytes, flawed: false })
            }
            Some(newer) if newer > FORMAT => Err(Flaw::Newer(newer)),
            _ => Err(Flaw::Unexpected("it does not begin as a file of this kind".into())),
        }
    }

    /// Whether more may be appended to this file: it is of the format that is written.
    pub(super) fn is_current(&self) -> bool {
        self.format == FORMAT
    }

    fn read(&mut self) -> Result<Option<Record>, Flaw> {
        let Self { reader, buffer, kinds, .. } = self;
        let (there, around) = if self.format == 1 {
            (lines::read(reader, buffer, lines::LONGEST)?, 1)
        } else {
            (frames::read(reader, buffer)?, frames::HEAD)
        };
        if !there {
            return Ok(None);
        }
        self.good_bytes += u64::try_from(buffer.len() + around).unwrap_or(u64::MAX);
        let record =
            if self.format == 1 { lines::parse(buffer, kinds) } else { frames::parse(buffer, kinds) };
        record.map(Some)
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Reached, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.flawed {
            return None;
        }
        let record = self.read().transpose()?;
        self.flawed = record.is_err();
        Some(record.map(|record| (record, self.good_bytes)))
    }
}
