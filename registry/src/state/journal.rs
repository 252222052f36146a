//! The writing side: changes are appended, and when they have grown a new pair of files begins. Blocking; whoever
//! calls this must be where blocking is allowed.

use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};

use vertice_registry_api::{Position, Revision};

use super::files;
use super::frames::{self, Block};
use super::image::Image;
use super::record::{Flaw, Kind, Note, Records, mark};
use crate::store::{Change, Delta, Packed};

/// Changes may grow to the size of the snapshot, and to this at least: less than a second of reading at a start.
const SMALL_BYTES: u64 = 16 * 1024 * 1024;

/// Changes with the handles of the instances that they are about.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) delta: Delta,
    pub(crate) handles: Vec<Option<u32>>,
}

/// Everything at one position, as it is written into a snapshot.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) position: Position,
    pub(crate) next_generation: u64,
    pub(crate) rows: Vec<(Option<u32>, Packed)>,
}

/// The open end of a state directory.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    /// Held as long as this process uses the directory.
    _lock: File,
    /// Of the file of changes that is appended to.
    number: u64,
    changes: File,
    changes_bytes: u64,
    /// Of the newest snapshot.
    base: u64,
    snapshot_bytes: u64,
}

/// A snapshot that is still to be written, away from the journal.
#[derive(Debug)]
pub(crate) struct SnapshotJob {
    dir: PathBuf,
    number: u64,
    /// The snapshot before, which stays.
    base: u64,
    whole: Whole,
}

/// A snapshot that was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotDone {
    number: u64,
    bytes: u64,
}

impl Journal {
    /// Goes on in `changes-{number}`, whose first `good_bytes` are good; the rest is cut off.
    pub(super) fn resume(
        dir: &Path,
        lock: File,
        number: u64,
        good_bytes: u64,
        base: u64,
        image: &Image,
    ) -> io::Result<Self> {
        let changes = files::create(&files::changes(dir, number))?;
        changes.set_len(good_bytes)?;
        let snapshot_bytes = std::fs::metadata(files::snapshot(dir, base)).map_or(0, |file| file.len());
        let mut journal = Self {
            dir: dir.to_owned(),
            _lock: lock,
            number,
            changes,
            changes_bytes: good_bytes,
            base,
            snapshot_bytes,
        };
        journal.append_start(image)?;
        Ok(journal)
    }

    /// Begins the pair `number` with `image` as its snapshot.
    pub(super) fn begin(dir: &Path, lock: File, number: u64, base: u64, image: &Image) -> io::Result<Self> {
        let whole = Whole {
            position: Position { epoch: image.epoch, revision: image.revision },
            next_generation: image.next_generation,
            rows: image.rows().map(|(handle, packed)| (handle, packed.clone())).collect(),
        };
        let changes = begin_changes(dir, number, image.revision)?;
        let changes_bytes = changes.metadata()?.len();
        let job = SnapshotJob { dir: dir.to_owned(), number, base, whole };
        let done = job.run()?;
        let mut journal = Self {
            dir: dir.to_owned(),
            _lock: lock,
            number,
            changes,
            changes_bytes,
            base,
            snapshot_bytes: 0,
        };
        journal.finish(done);
        journal.append_start(image)?;
        Ok(journal)
    }

    fn append_start(&mut self, image: &Image) -> io::Result<()> {
        self.append_note(&Note::Start { epoch: image.epoch, next_generation: image.next_generation })?;
        self.sync()
    }

    /// Appends `piece`; when this returns, the system has it: the end of this process does not lose it. For the loss of
    /// power it must be synced as well.
    pub(crate) fn append(&mut self, piece: &Piece) -> io::Result<()> {
        let mut bytes = Vec::new();
        let revisions = (piece.delta.from.0 + 1..).map(Revision);
        for ((change, revision), handle) in piece.delta.changes.iter().zip(revisions).zip(&piece.handles) {
            match change {
                Change::Upsert(instance) => frames::append_upsert(revision, *handle, instance, &mut bytes),
                Change::Remove { service, instance_id, generation, reason } => {
                    let (service, instance_id) = (service.clone(), instance_id.clone());
                    let (generation, reason) = (*generation, *reason);
                    let note = Note::Remove { revision, service, instance_id, generation, reason };
                    frames::append_note(&note, &mut bytes);
                }
            }
        }
        self.append_bytes(&bytes)
    }

    /// Appends that this process ends in order at `revision`, and syncs.
    pub(crate) fn append_clean(&mut self, revision: Revision, next_generation: u64) -> io::Result<()> {
        self.append_note(&Note::Clean { revision, next_generation })?;
        self.sync()
    }

    /// What was appended is on the disk when this returns.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.changes.sync_data()
    }

    /// The file that is appended to, for syncing it while more is appended.
    pub(crate) fn to_sync(&self) -> io::Result<File> {
        self.changes.try_clone()
    }

    fn append_note(&mut self, note: &Note) -> io::Result<()> {
        let mut bytes = Vec::new();
        frames::append_note(note, &mut bytes);
        self.append_bytes(&bytes)
    }

    fn append_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.changes.write_all(bytes)?;
        self.changes_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Whether the changes have grown so much that a new pair should begin.
    pub(crate) fn has_grown(&self) -> bool {
        self.changes_bytes > self.snapshot_bytes.max(SMALL_BYTES)
    }

    /// Begins a new pair at `whole`: changes go to the new file from now on, the snapshot is written by the job. Until
    /// it is, the old pair and the new changes together say everything.
    pub(crate) fn turn_over(&mut self, whole: Whole) -> io::Result<SnapshotJob> {
        let number = self.number + 1;
        // The new file means nothing without the end of the old one.
        self.sync()?;
        self.changes = begin_changes(&self.dir, number, whole.position.revision)?;
        self.changes_bytes = self.changes.metadata()?.len();
        self.number = number;
        Ok(SnapshotJob { dir: self.dir.clone(), number, base: self.base, whole })
    }

    /// Begins a new pair at `whole` and waits for its snapshot, because the old pair cannot be gone on with. A failed
    /// attempt leaves nothing behind.
    pub(crate) fn renew(&mut self, whole: Whole) -> io::Result<()> {
        let (number, revision) = (self.number + 1, whole.position.revision);
        let job = SnapshotJob { dir: self.dir.clone(), number, base: self.base, whole };
        let done = job.run()?;
        self.changes = begin_changes(&self.dir, number, revision)?;
        self.changes_bytes = self.changes.metadata()?.len();
        self.number = number;
        self.finish(done);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn fill_the_disk(&mut self) {
        self.changes = File::options().write(true).open("/dev/full").unwrap();
    }

    /// Takes notice of a finished snapshot.
    pub(crate) fn finish(&mut self, done: SnapshotDone) {
        self.base = done.number;
        self.snapshot_bytes = done.bytes;
    }
}

impl SnapshotJob {
    /// Writes the snapshot, then removes what is older than the one before it.
    pub(crate) fn run(self) -> io::Result<SnapshotDone> {
        let Self { dir, number, base, whole } = self;
        let Whole { position, next_generation, rows } = whole;
        let bytes = files::make(&files::snapshot(&dir, number), |writer| {
            writer.write_all(mark(Kind::Snapshot).as_bytes())?;
            let (mut bytes, mut block) = (Vec::new(), Block::default());
            let Position { epoch, revision } = position;
            frames::append_note(&Note::State { epoch, revision, next_generation }, &mut bytes);
            for (handle, packed) in &rows {
                block.push(*handle, packed);
                if block.is_full() {
                    block.append_to(&mut bytes);
                    writer.write_all(&bytes)?;
                    bytes.clear();
                }
            }
            block.append_to(&mut bytes);
            let instances = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            frames::append_note(&Note::End { instances }, &mut bytes);
            writer.write_all(&bytes)
        })?;
        files::forget_below(&dir, base);
        Ok(SnapshotDone { number, bytes })
    }
}

/// An empty file of changes that follow `revision`.
fn begin_changes(dir: &Path, number: u64, revision: Revision) -> io::Result<File> {
    let path = files::changes(dir, number);
    let mut text = mark(Kind::Changes).into_bytes();
    frames::append_note(&Note::After { revision }, &mut text);
    // A file of that number can only be what a failed attempt left.
    files::make(&path, |writer| writer.write_all(&text))?;
    files::create(&path)
}

/// Whether a file begins as changes of a format that this version reads.
pub(super) fn check_mark(reader: impl BufRead) -> Result<(), Flaw> {
    Records::new(reader, Kind::Changes).map(|_| ())
}
