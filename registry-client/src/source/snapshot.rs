//! Reading a snapshot while it arrives: one line at a time, so that a large one is in memory once and not twice.

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::snapshot::{Snapshot, SnapshotHead, SnapshotTrailer};
use vertice_registry_api::{Instance, Position};

use crate::error::SourceError;
use crate::http::len;

/// The most that is read: a million instances of the usual size take about 400 MB of lines.
const SNAPSHOT_BYTES: u64 = 512 * 1024 * 1024;
/// The longest line: an instance's largest body by the contract, twice, for escapes.
const LINE_BYTES: usize = 128 * 1024;

/// A snapshot that has not come to its end.
#[derive(Debug)]
pub struct SnapshotReader {
    content_type: String,
    line: Vec<u8>,
    lines: u64,
    bytes: u64,
    head: Option<SnapshotHead>,
    instances: Vec<Instance>,
    digest: SetDigest,
    trailer: Option<SnapshotTrailer>,
}

impl SnapshotReader {
    /// For an answer of this type, which errors name.
    pub fn new(content_type: String) -> Self {
        Self {
            content_type,
            line: Vec::new(),
            lines: 0,
            bytes: 0,
            head: None,
            instances: Vec::new(),
            digest: SetDigest::default(),
            trailer: None,
        }
    }

    /// Takes the next bytes in.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), SourceError> {
        self.bytes += len(bytes.len());
        if self.bytes > SNAPSHOT_BYTES {
            return Err(SourceError::TooLarge(SNAPSHOT_BYTES));
        }
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.take_line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take_line(&whole)?;
                whole.clear();
                self.line = whole;
            }
        }
        if self.line.len() + bytes.len() > LINE_BYTES {
            return Err(self.not_ours(format!("line {} is longer than {LINE_BYTES} bytes", self.lines + 1)));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The end of the answer: a snapshot only if it proves that it is whole.
    pub fn finish(mut self) -> Result<Snapshot, SourceError> {
        let last = std::mem::take(&mut self.line);
        self.take_line(&last)?;
        let Some(head) = self.head.take() else {
            return Err(self.not_ours("an empty body where a snapshot belongs".into()));
        };
        let Some(trailer) = self.trailer else {
            return Err(SourceError::Truncated("the snapshot has no trailer".into()));
        };
        let got = len(self.instances.len());
        if trailer.count != got {
            return Err(SourceError::Truncated(format!(
                "the snapshot's trailer counts {} instances, {got} came",
                trailer.count
            )));
        }
        if trailer.digest != self.digest {
            return Err(SourceError::Digest);
        }
        let position = Position { epoch: head.epoch, revision: head.revision };
        Ok(Snapshot { position, state: head.state, instances: self.instances, digest: self.digest })
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), SourceError> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        self.lines += 1;
        if self.trailer.is_some() {
            return Err(self.not_ours("there are lines after the snapshot's trailer".into()));
        }
        if self.head.is_none() {
            let head = serde_json::from_slice(line)
                .map_err(|e| self.not_ours(format!("line 1 is not a snapshot's head: {e}")))?;
            self.head = Some(head);
            return Ok(());
        }
        match serde_json::from_slice::<Instance>(line) {
            Ok(instance) => {
                self.digest.add(&instance);
                self.instances.push(instance);
            }
            Err(error) => match serde_json::from_slice::<SnapshotTrailer>(line) {
                Ok(trailer) => self.trailer = Some(trailer),
                // A line that just stops is what a cut connection leaves behind.
                Err(_) if error.is_eof() => {
                    return Err(SourceError::Truncated(format!("snapshot line {} is cut", self.lines)));
                }
                Err(_) => return Err(self.not_ours(format!("snapshot line {}: {error}", self.lines))),
            },
        }
        Ok(())
    }

    fn not_ours(&self, reason: String) -> SourceError {
        SourceError::NotOurs { content_type: self.content_type.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{instance, snapshot_text};

    fn read(text: &[u8], chunk: usize) -> Result<Snapshot, SourceError> {
        let mut reader = SnapshotReader::new("application/x-ndjson".into());
        for part in text.chunks(chunk.max(1)) {
            reader.feed(part)?;
        }
        reader.finish()
    }

    #[test]
    fn the_same_snapshot_in_pieces_of_any_size() {
        let instances = [instance("alpha", "a:1"), instance("beta", "b:1")];
        let text = snapshot_text(1, 7, &instances);
        for chunk in [1, 2, 3, 64, 100_000] {
            let snapshot = read(text.as_bytes(), chunk).unwrap();
            assert_eq!(snapshot.instances, instances);
            assert_eq!(snapshot.position.revision.0, 7);
        }
        assert_eq!(read(snapshot_text(1, 0, &[]).as_bytes(), 9).unwrap().instances, []);
    }

    #[test]
    fn cut_anywhere_it_is_no_snapshot() {
        let text = snapshot_text(1, 7, &[instance("alpha", "a:1"), instance("beta", "b:1")]);
        let whole = text.trim_end().len();
        for end in 0..whole {
            assert!(read(&text.as_bytes()[..end], 50).is_err(), "{end} of {whole} bytes");
        }
    }

    #[test]
    fn a_lie_in_the_trailer_a_page_of_html_and_an_endless_line_are_refused() {
        let text = snapshot_text(1, 7, &[instance("alpha", "a:1")]);
        let miscounted = text.replace("\"count\":1", "\"count\":2");
        assert!(matches!(read(miscounted.as_bytes(), 50), Err(SourceError::Truncated(_))));
        let changed = text.replace("\"weight\":100", "\"weight\":101");
        assert_ne!(changed, text);
        assert_eq!(read(changed.as_bytes(), 50), Err(SourceError::Digest));
        let after = format!("{text}{{}}\n");
        assert!(matches!(read(after.as_bytes(), 50), Err(SourceError::NotOurs { .. })));
        assert!(matches!(read(b"<html>\n</html>", 50), Err(SourceError::NotOurs { .. })));
        assert!(matches!(read(&vec![b'x'; 300_000], 4096), Err(SourceError::NotOurs { .. })));
    }
}
