//! The file's text: a header line with a checksum, then a line per instance. Pure.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vertice_registry_api::{Instance, Position};
use vertice_registry_client::SourceKind;

/// The only format so far. A file with a higher number was written by a newer gateway.
pub const FORMAT: u32 = 1;

/// The longest line that is read: an instance's largest body by the contract, twice, for escapes.
const LINE_BYTES: u64 = 128 * 1024;

/// What stands in the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Milliseconds since 1970.
    pub written_at_ms: u64,
    /// Whose word this is: the registry's URL, or `embedded`.
    pub registry: String,
    /// `watched` or `polled`.
    pub kind: Option<String>,
    /// How far its history was applied.
    pub position: Option<Position>,
    /// Lines that follow.
    pub count: u64,
    /// Of everything behind the first line, in hexadecimal.
    pub sha256: String,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When a source last vouched for it, in milliseconds since 1970.
    pub last_proof_ms: u64,
    /// Why and since when (milliseconds since 1970) it was held. For people: after a start everything is held anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldLine>,
    /// As it was last described.
    pub instance: Instance,
}

/// Why an instance was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLine {
    /// The word for it.
    pub reason: String,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

/// An [`Entry`] that is not copied to be written.
#[derive(Debug, Serialize)]
pub struct EntryRef<'a> {
    /// As there.
    pub last_proof_ms: u64,
    /// As there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldLine>,
    /// As there.
    pub instance: &'a Instance,
}

/// A file that was read and is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Milliseconds since 1970.
    pub written_at_ms: u64,
    /// Whose word this is.
    pub registry: String,
    /// Which kind of registry it was: a guess about who will answer now.
    pub kind: Option<SourceKind>,
    /// How far its history was applied.
    pub position: Option<Position>,
    /// All that was known.
    pub entries: Vec<Entry>,
    /// Lines that are whole and break a rule of today; they are left out.
    pub left_out: usize,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Read(io::Error),
    /// A newer gateway wrote it, in this format.
    Newer(u32),
    /// It was cut, changed, or never was ours.
    Corrupt(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::Newer(format) => {
                write!(f, "a newer gateway wrote it, in format {format}; this one knows format {FORMAT}")
            }
            Self::Corrupt(why) => write!(f, "it is corrupt: {why}"),
        }
    }
}

/// What the header says beside the checksum, which [`write`] adds.
#[derive(Clone, Debug)]
pub struct About {
    /// Milliseconds since 1970.
    pub written_at_ms: u64,
    /// Whose word this is.
    pub registry: String,
    /// Which kind of registry it is.
    pub kind: Option<SourceKind>,
    /// How far its history is applied.
    pub position: Option<Position>,
}

/// Writes the whole text. The entries are gone through twice, once for the checksum, so that they are never in memory as
/// text.
pub fn write<'a, I>(about: &About, entries: I, out: &mut impl Write) -> io::Result<()>
where
    I: Iterator<Item = EntryRef<'a>> + Clone,
{
    let mut sum = Sum::default();
    let mut count = 0;
    for entry in entries.clone() {
        line(&entry, &mut sum)?;
        count += 1;
    }
    let header = Header {
        format: FORMAT,
        written_at_ms: about.written_at_ms,
        registry: about.registry.clone(),
        kind: about.kind.map(|kind| kind.as_str().to_owned()),
        position: about.position,
        count,
        sha256: sum.hex(),
    };
    line(&header, out)?;
    for entry in entries {
        line(&entry, out)?;
    }
    Ok(())
}

fn line(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads a whole text; any doubt about it is an error.
pub fn read(from: &mut impl BufRead) -> Result<Kept, Unusable> {
    let corrupt = |why: &str| Unusable::Corrupt(why.to_owned());
    let mut text = Vec::new();
    if !next_line(from, &mut text)? {
        return Err(corrupt("the first line is missing or cut"));
    }
    let header = header(&text)?;
    let mut sum = Sum::default();
    let (mut entries, mut left_out, mut count) = (Vec::new(), 0, 0);
    while next_line(from, &mut text)? {
        // Into memory, which does not fail.
        let _ = sum.write_all(&text);
        count += 1;
        match serde_json::from_slice(&text) {
            Ok(entry) => entries.push(entry),
            Err(_) => left_out += 1,
        }
    }
    if !text.is_empty() {
        return Err(corrupt("its last line is cut"));
    }
    if count != header.count {
        return Err(Unusable::Corrupt(format!("its header counts {} entries, it has {count}", header.count)));
    }
    if sum.hex() != header.sha256 {
        return Err(corrupt("its checksum is not that of its content"));
    }
    let kind = [SourceKind::Watched, SourceKind::Polled];
    Ok(Kept {
        written_at_ms: header.written_at_ms,
        registry: header.registry,
        kind: kind.into_iter().find(|kind| Some(kind.as_str()) == header.kind.as_deref()),
        position: header.position,
        entries,
        left_out,
    })
}

/// The next line with its end; `false` if there is no whole one, `text` then is what there was.
fn next_line(from: &mut impl BufRead, text: &mut Vec<u8>) -> Result<bool, Unusable> {
    text.clear();
    io::Read::take(&mut *from, LINE_BYTES).read_until(b'\n', text).map_err(Unusable::Read)?;
    Ok(text.ends_with(b"\n"))
}

fn header(text: &[u8]) -> Result<Header, Unusable> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let not_ours =
        |error: serde_json::Error| Unusable::Corrupt(format!("the first line is no header: {error}"));
    let Format { format } = serde_json::from_slice(text).map_err(not_ours)?;
    if format > FORMAT {
        return Err(Unusable::Newer(format));
    }
    serde_json::from_slice(text).map_err(not_ours)
}

/// SHA-256 of what is written into it.
#[derive(Default)]
struct Sum(Sha256);

impl Sum {
    fn hex(self) -> String {
        use std::fmt::Write as _;
        self.0.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
