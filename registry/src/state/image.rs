//! What the state files say, put together in memory. Pure: it takes any records.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::{Epoch, Revision, ServiceName};

use super::record::{Flaw, Note, Reached, Record, Row};
use crate::store::Packed;

/// An instance, found by its id.
#[derive(Clone, Debug)]
pub(super) struct ById(pub(super) Packed);

impl Borrow<[u8]> for ById {
    fn borrow(&self) -> &[u8] {
        self.0.id()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id().cmp(other.0.id())
    }
}

/// The instances of one service.
type Copies = BTreeMap<ById, Row>;

/// A registry's content at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    /// Higher than any generation that was given out and written.
    pub(crate) next_generation: u64,
    services: HashMap<ServiceName, Copies>,
    /// Of all instances.
    pub(crate) digest: SetDigest,
    /// The last thing written was the end of a process that stopped in order.
    pub(crate) clean: bool,
}

/// What a file of changes gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Up to here the file is good.
    pub(super) good_bytes: u64,
    pub(super) records: u64,
    /// Why the rest was not read.
    pub(super) flaw: Option<Flaw>,
}

impl Image {
    /// Before the first change.
    pub(super) fn empty(epoch: Epoch) -> Self {
        Self {
            epoch,
            revision: Revision(0),
            next_generation: 0,
            services: HashMap::new(),
            digest: SetDigest::default(),
            clean: false,
        }
    }

    /// Takes a whole snapshot; any doubt is a flaw.
    pub(super) fn read(records: impl IntoIterator<Item = Result<Reached, Flaw>>) -> Result<Self, Flaw> {
        let mut records = records.into_iter().map(|record| record.map(|(record, _)| record));
        let mut image = match records.next().transpose()? {
            Some(Record::Note(Note::State { epoch, revision, next_generation })) => {
                Self { revision, next_generation, ..Self::empty(epoch) }
            }
            Some(other) => return Err(unexpected(&other)),
            None => return Err(Flaw::Torn),
        };
        loop {
            match records.next().transpose()? {
                Some(Record::Rows(rows)) => image.extend(rows),
                Some(Record::Note(Note::End { instances })) => {
                    let has = u64::try_from(image.rows().count()).unwrap_or(u64::MAX);
                    if has != instances {
                        return Err(Flaw::Unexpected(format!("it says {instances} instances and has {has}")));
                    }
                    return Ok(image);
                }
                Some(other) => return Err(unexpected(&other)),
                None => return Err(Flaw::Torn),
            }
        }
    }

    /// Applies changes as far as they are good and fit.
    pub(super) fn replay(&mut self, records: impl IntoIterator<Item = Result<Reached, Flaw>>) -> Replayed {
        let mut replayed = Replayed { good_bytes: 0, records: 0, flaw: None };
        for record in records {
            let applied = record.and_then(|(record, good_bytes)| {
                self.apply(record, replayed.records == 0)?;
                Ok(good_bytes)
            });
            match applied {
                Ok(good_bytes) => replayed.good_bytes = good_bytes,
                Err(flaw) => return Replayed { flaw: Some(flaw), ..replayed },
            }
            replayed.records += 1;
        }
        replayed
    }

    /// All instances with their handles, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Option<u32>, &Packed)> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|(service, _)| *service);
        services.into_iter().flat_map(|(_, copies)| copies.values()).map(|row| (row.handle, &row.packed))
    }

    /// As [`Image::rows`]; what was given is no longer held here.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (Option<u32>, Packed)> {
        let mut services: Vec<_> = self.services.into_iter().collect();
        services.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        services.into_iter().flat_map(|(_, copies)| copies.into_values()).map(|row| (row.handle, row.packed))
    }

    fn apply(&mut self, record: Record, first: bool) -> Result<(), Flaw> {
        if first != matches!(record, Record::Note(Note::After { .. })) {
            return Err(unexpected(&record));
        }
        // After the end of a process only the start of another can come.
        if self.clean && !matches!(record, Record::Note(Note::Start { .. })) {
            return Err(unexpected(&record));
        }
        match record {
            Record::Upsert { revision, row } => {
                self.step(revision)?;
                self.put(row);
            }
            Record::Note(Note::After { revision }) if revision != self.revision => {
                let wanted = self.revision;
                return Err(Flaw::Unexpected(format!("it follows revision {revision}, not {wanted}")));
            }
            Record::Note(Note::After { .. }) => {}
            Record::Note(Note::Start { epoch, next_generation }) => {
                self.epoch = epoch;
                self.next_generation = self.next_generation.max(next_generation);
                self.clean = false;
            }
            Record::Note(Note::Remove { revision, service, instance_id, .. }) => {
                self.step(revision)?;
                self.take(&service, instance_id.as_str().as_bytes());
            }
            Record::Note(Note::Clean { revision, next_generation }) => {
                if revision != self.revision {
                    return Err(Flaw::Unexpected(format!("it ends at {revision}, not at {}", self.revision)));
                }
                self.next_generation = self.next_generation.max(next_generation);
                self.clean = true;
            }
            other @ (Record::Rows(_) | Record::Note(Note::State { .. } | Note::End { .. })) => {
                return Err(unexpected(&other));
            }
        }
        Ok(())
    }

    fn step(&mut self, revision: Revision) -> Result<(), Flaw> {
        if revision.0 != self.revision.0 + 1 {
            let why = format!("revision {revision} follows revision {}", self.revision);
            return Err(Flaw::Unexpected(why));
        }
        self.revision = revision;
        Ok(())
    }

    /// Takes in rows of a snapshot, which stand in order: a map is made of what is in order many times faster than one by
    /// one.
    fn extend(&mut self, rows: Vec<Row>) {
        let mut rows = rows.into_iter().peekable();
        while let Some(service) = rows.peek().map(|row| row.packed.service().clone()) {
            let mut of_it = std::iter::from_fn(|| rows.next_if(|row| *row.packed.service() == service));
            if self.services.contains_key(&service) {
                of_it.for_each(|row| self.put(row));
            } else {
                let seen = of_it.by_ref().map(|row| {
                    self.next_generation =
                        self.next_generation.max(row.packed.generation().saturating_add(1));
                    self.digest.join(row.digest);
                    (ById(row.packed.clone()), row)
                });
                let copies = seen.collect();
                self.services.insert(service, copies);
            }
        }
    }

    pub(super) fn put(&mut self, row: Row) {
        self.next_generation = self.next_generation.max(row.packed.generation().saturating_add(1));
        self.digest.join(row.digest);
        let copies = match self.services.get_mut(row.packed.service()) {
            Some(copies) => copies,
            None => self.services.entry(row.packed.service().clone()).or_default(),
        };
        if let Some(before) = copies.insert(ById(row.packed.clone()), row) {
            self.digest.part(before.digest);
        }
    }

    fn take(&mut self, service: &ServiceName, id: &[u8]) {
        let Some(copies) = self.services.get_mut(service) else { return };
        if let Some(before) = copies.remove(id) {
            self.digest.part(before.digest);
        }
        if copies.is_empty() {
            self.services.remove(service);
        }
    }
}

fn unexpected(record: &Record) -> Flaw {
    let name = match record {
        Record::Rows(_) => "row",
        Record::Upsert { .. } => "upsert",
        Record::Note(Note::State { .. }) => "state",
        Record::Note(Note::End { .. }) => "end",
        Record::Note(Note::After { .. }) => "after",
        Record::Note(Note::Start { .. }) => "start",
        Record::Note(Note::Remove { .. }) => "remove",
        Record::Note(Note::Clean { .. }) => "clean",
    };
    Flaw::Unexpected(format!("a record '{name}' is where none can be"))
}
