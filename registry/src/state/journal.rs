//! The writing side: changes are appended, and when they have grown a new pair of files begins. Blocking; whoever
//! calls this must be where blocking is allowed.

use std::fs::File;
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};

use vertice_registry_api::{Instance, Position, Revision};

use super::files;
use super::image::Image;
use super::record::{self, Flaw, Kind, Record, Records, mark};
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
            rows: image.packed(),
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
        let start = Record::Start { epoch: image.epoch, next_generation: image.next_generation };
        self.append_records(&[start])?;
        self.sync()
    }

    /// Appends `piece`; when this returns, the system has it: the end of this process does not lose it. For the loss of
    /// power it must be synced as well.
    pub(crate) fn append(&mut self, piece: &Piece) -> io::Result<()> {
        let revisions = (piece.delta.from.0 + 1..).map(Revision);
        let changes = piece.delta.changes.iter().zip(revisions).zip(&piece.handles);
        let records: Vec<_> =
            changes.map(|((change, revision), handle)| written(change, revision, *handle)).collect();
        self.append_records(&records)
    }

    /// Appends that this process ends in order at `revision`, and syncs.
    pub(crate) fn append_clean(&mut self, revision: Revision, next_generation: u64) -> io::Result<()> {
        self.append_records(&[Record::Clean { revision, next_generation }])?;
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

    fn append_records(&mut self, records: &[Record<&Instance>]) -> io::Result<()> {
        let mut text = Vec::new();
        for record in records {
            record::append(record, &mut text);
        }
        self.changes.write_all(&text)?;
        self.changes_bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
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
            let mut text = Vec::new();
            let mut write = |record: &Record<&Instance>| {
                text.clear();
                record::append(record, &mut text);
                writer.write_all(&text)
            };
            let Position { epoch, revision } = position;
            write(&Record::State { epoch, revision, next_generation })?;
            for (handle, packed) in &rows {
                if let Some(instance) = packed.unpack() {
                    write(&Record::Row { handle: *handle, instance: &instance })?;
                }
            }
            write(&Record::End { instances: u64::try_from(rows.len()).unwrap_or(u64::MAX) })
        })?;
        files::forget_below(&dir, base);
        Ok(SnapshotDone { number, bytes })
    }
}

/// An empty file of changes that follow `revision`.
fn begin_changes(dir: &Path, number: u64, revision: Revision) -> io::Result<File> {
    let path = files::changes(dir, number);
    let mut text = mark(Kind::Changes).into_bytes();
    record::append(&Record::After { revision }, &mut text);
    // A file of that number can only be what a failed attempt left.
    files::make(&path, |writer| writer.write_all(&text))?;
    files::create(&path)
}

fn written(change: &Change, revision: Revision, handle: Option<u32>) -> Record<&Instance> {
    match change {
        Change::Upsert(instance) => Record::Upsert { revision, handle, instance },
        Change::Remove { service, instance_id, generation, reason } => Record::Remove {
            revision,
            service: service.clone(),
            instance_id: instance_id.clone(),
            generation: *generation,
            reason: *reason,
        },
    }
}

/// Whether a file begins as changes of a format that this version reads.
pub(super) fn check_mark(reader: impl BufRead) -> Result<(), Flaw> {
    Records::new(reader, Kind::Changes).map(|_| ())
}
