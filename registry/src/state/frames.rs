//! Format 2: a record is its length (32 bits), its checksum (64 bits), and that many bytes. Numbers are little-endian.
//!
//! Bytes that begin with `{` are a note in JSON; with `R`, instances of a snapshot; with `U`, a revision and one instance. An
//! instance is its handle, the number of its kind within the record (the kind follows where it is a new one), and what is its
//! own, in the form in which memory holds it: nothing is parsed but what is checked.

use std::io::{BufRead, ErrorKind};
use std::sync::Arc;

use vertice_registry_api::{Instance, Revision};

use super::record::{Flaw, Note, Record, Row, checksum};
use crate::store::{Bytes, Kind, Kinds, Packed, put_own};

/// Before the bytes of a record: length and checksum.
pub(super) const HEAD: usize = 12;
/// No record is longer: a block of rows ends soon after [`BLOCK_BYTES`]. Bounds what a damaged length costs.
const LONGEST: usize = 256 * 1024;
/// Rows of a snapshot come in blocks of about this size: a damaged one is found, and a checksum is for many.
const BLOCK_BYTES: usize = 64 * 1024;
/// An instance that has no handle.
const NO_HANDLE: u32 = u32::MAX;

/// Appends the record that `fill` writes.
fn append(bytes: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    fill(bytes);
    let payload = bytes.get(start + HEAD..).unwrap_or_default();
    let (length, sum) = (u32::try_from(payload.len()).unwrap_or(u32::MAX), checksum(payload));
    if let Some((length_place, sum_place)) =
        bytes.get_mut(start..start + HEAD).and_then(|head| head.split_at_mut_checked(4))
    {
        length_place.copy_from_slice(&length.to_le_bytes());
        sum_place.copy_from_slice(&sum.to_le_bytes());
    }
}

pub(super) fn append_note(note: &Note, bytes: &mut Vec<u8>) {
    // Writing to a Vec does not fail, and notes have string keys only.
    append(bytes, |bytes| _ = serde_json::to_writer(bytes, note));
}

pub(super) fn append_upsert(
    revision: Revision,
    handle: Option<u32>,
    instance: &Instance,
    bytes: &mut Vec<u8>,
) {
    append(bytes, |bytes| {
        bytes.push(b'U');
        bytes.extend_from_slice(&revision.0.to_le_bytes());
        put_row(handle, 0, bytes, |bytes| Kind::of(instance).put(bytes), |bytes| put_own(instance, bytes));
    });
}

/// A row: `kind` writes the kind where it is a new one, or nothing.
fn put_row(
    handle: Option<u32>,
    number: u16,
    bytes: &mut Vec<u8>,
    kind: impl FnOnce(&mut Vec<u8>),
    own: impl FnOnce(&mut Vec<u8>),
) {
    bytes.extend_from_slice(&handle.unwrap_or(NO_HANDLE).to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    kind(bytes);
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 2]);
    own(bytes);
    let length = u16::try_from(bytes.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(place) = bytes.get_mut(start..start + 2) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// Rows of a snapshot that become one record.
#[derive(Default)]
pub(super) struct Block {
    rows: Vec<u8>,
    kinds: Vec<Arc<Kind>>,
}

impl Block {
    pub(super) fn push(&mut self, handle: Option<u32>, packed: &Packed) {
        let known = self.kinds.iter().rposition(|kind| Arc::ptr_eq(kind, packed.kind()));
        let number = u16::try_from(known.unwrap_or(self.kinds.len())).unwrap_or(u16::MAX);
        let kind = |bytes: &mut Vec<u8>| {
            if known.is_none() {
                packed.kind().put(bytes);
            }
        };
        put_row(handle, number, &mut self.rows, kind, |bytes| bytes.extend_from_slice(packed.own()));
        if known.is_none() {
            self.kinds.push(packed.kind().clone());
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= BLOCK_BYTES
    }

    /// Appends the record, if there is a row, and begins anew.
    pub(super) fn append_to(&mut self, bytes: &mut Vec<u8>) {
        if !self.rows.is_empty() {
            append(bytes, |bytes| {
                bytes.push(b'R');
                bytes.append(&mut self.rows);
            });
        }
        self.kinds.clear();
    }
}

/// Whether there is a record, whose bytes are then in `payload`.
pub(super) fn read(reader: &mut impl BufRead, payload: &mut Vec<u8>) -> Result<bool, Flaw> {
    let torn = |error: std::io::Error| {
        if error.kind() == ErrorKind::UnexpectedEof { Flaw::Torn } else { Flaw::Read(error.to_string()) }
    };
    payload.clear();
    if reader.fill_buf().map_err(torn)?.is_empty() {
        return Ok(false);
    }
    let (mut length, mut sum) = ([0; 4], [0; 8]);
    reader.read_exact(&mut length).map_err(torn)?;
    reader.read_exact(&mut sum).map_err(torn)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(Flaw::Checksum);
    }
    payload.resize(length, 0);
    reader.read_exact(payload).map_err(torn)?;
    if checksum(payload) == u64::from_le_bytes(sum) { Ok(true) } else { Err(Flaw::Checksum) }
}

pub(super) fn parse(payload: &[u8], kinds: &mut Kinds) -> Result<Record, Flaw> {
    let wrong = || Flaw::Unexpected("a record is not of this format".into());
    let mut bytes = Bytes(payload);
    match payload.first() {
        Some(b'{') => match serde_json::from_slice(payload) {
            Ok(note) => Ok(Record::Note(note)),
            Err(error) => Err(Flaw::Unexpected(error.to_string())),
        },
        Some(b'R') => {
            bytes.u8();
            rows(bytes, kinds).map(Record::Rows).ok_or_else(wrong)
        }
        Some(b'U') => {
            bytes.u8();
            let revision = bytes.u64().map(Revision).ok_or_else(wrong)?;
            match rows(bytes, kinds).and_then(|rows| <[Row; 1]>::try_from(rows).ok()) {
                Some([row]) => Ok(Record::Upsert { revision, row }),
                None => Err(wrong()),
            }
        }
        _ => Err(wrong()),
    }
}

fn rows(mut bytes: Bytes<'_>, kinds: &mut Kinds) -> Option<Vec<Row>> {
    let (mut rows, mut known) = (Vec::new(), Vec::new());
    while !bytes.0.is_empty() {
        let handle = Some(bytes.u32()?).filter(|handle| *handle != NO_HANDLE);
        let number = usize::from(bytes.u16()?);
        if number == known.len() {
            known.push(kinds.common(Kind::read(&mut bytes)?));
        }
        let length = bytes.u16()?;
        let (packed, instance) = Packed::read(known.get(number)?, bytes.take(length.into())?)?;
        rows.push(Row::new(handle, packed, &instance));
    }
    Some(rows)
}
