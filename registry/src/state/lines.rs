//! Format 1, which earlier versions wrote: lines of 16 hexadecimal digits of checksum, a space, JSON. It is only read; the first
//! start of this version writes everything anew.

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use vertice_registry_api::{Instance, Revision};

use super::record::{Flaw, Note, Record, Row, checksum};
use crate::store::Kinds;

/// Hexadecimal digits of a checksum.
const SUM_CHARS: usize = 16;
/// No record is longer: an instance is a few KiB at most. Bounds what a file without line ends costs.
pub(super) const LONGEST: u64 = 256 * 1024;

/// What only lines say in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Whole {
    Row { handle: Option<u32>, instance: Instance },
    Upsert { revision: Revision, handle: Option<u32>, instance: Instance },
}

/// Whether there is a line, which is then in `line` without its end.
pub(super) fn read(reader: &mut impl BufRead, line: &mut Vec<u8>, longest: u64) -> Result<bool, Flaw> {
    line.clear();
    let mut limited = reader.take(longest);
    let read = limited.read_until(b'\n', line).map_err(|e: io::Error| Flaw::Read(e.to_string()))?;
    if read == 0 {
        return Ok(false);
    }
    if line.pop() != Some(b'\n') {
        return Err(Flaw::Torn);
    }
    Ok(true)
}

pub(super) fn parse(line: &[u8], kinds: &mut Kinds) -> Result<Record, Flaw> {
    let (sum, json) = line.split_at_checked(SUM_CHARS).ok_or(Flaw::Checksum)?;
    let json = json.strip_prefix(b" ").ok_or(Flaw::Checksum)?;
    if sum != format!("{:0SUM_CHARS$x}", checksum(json)).as_bytes() {
        return Err(Flaw::Checksum);
    }
    let wrong = |error: serde_json::Error| Flaw::Unexpected(error.to_string());
    if !json.starts_with(b"{\"row\"") && !json.starts_with(b"{\"upsert\"") {
        return serde_json::from_slice::<Note>(json).map(Record::Note).map_err(wrong);
    }
    Ok(match serde_json::from_slice(json).map_err(wrong)? {
        Whole::Row { handle, instance } => {
            Record::Rows(vec![Row::new(handle, kinds.pack(&instance), &instance)])
        }
        Whole::Upsert { revision, handle, instance } => {
            Record::Upsert { revision, row: Row::new(handle, kinds.pack(&instance), &instance) }
        }
    })
}
