//! What the state files say, put together in memory. Pure: it reads from any reader.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use vertice_registry_api::{Epoch, Instance, InstanceId, Revision, ServiceName};

use super::record::{Flaw, Kind, Record, Records};
use crate::store::{Kinds, Packed};

/// A registry's content at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    /// Higher than any generation that was given out and written.
    pub(crate) next_generation: u64,
    /// With their handles.
    pub(crate) rows: BTreeMap<(ServiceName, InstanceId), (Option<u32>, Arc<Instance>)>,
    /// The last thing written was the end of a process that stopped in order.
    pub(crate) clean: bool,
}

/// An instance with its handle, by its names.
type Row = ((ServiceName, InstanceId), (Option<u32>, Arc<Instance>));

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
        Self { epoch, revision: Revision(0), next_generation: 0, rows: BTreeMap::new(), clean: false }
    }

    /// Reads a whole snapshot; any doubt is a flaw.
    pub(super) fn read(reader: impl BufRead) -> Result<Self, Flaw> {
        let mut records = Records::new(reader, Kind::Snapshot)?;
        let mut image = match records.next()? {
            Some(Record::State { epoch, revision, next_generation }) => {
                Self { revision, next_generation, ..Self::empty(epoch) }
            }
            Some(other) => return Err(unexpected(&other)),
            None => return Err(Flaw::Torn),
        };
        let mut rows = Vec::new();
        loop {
            match records.next()? {
                Some(Record::Row { handle, instance }) => rows.push(image.row(handle, instance)),
                Some(Record::End { instances }) => {
                    // They stand in order, and a map is made of what is in order many times faster than one by one.
                    image.rows = rows.into_iter().collect();
                    let has = u64::try_from(image.rows.len()).unwrap_or(u64::MAX);
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

    /// Applies a file of changes as far as it is good and fits.
    pub(super) fn replay(&mut self, reader: impl BufRead) -> Replayed {
        let mut replayed = Replayed { good_bytes: 0, records: 0, flaw: None };
        let mut records = match Records::new(reader, Kind::Changes) {
            Ok(records) => records,
            Err(flaw) => return Replayed { flaw: Some(flaw), ..replayed },
        };
        loop {
            let applied = match records.next() {
                Ok(None) => return replayed,
                Ok(Some(record)) => self.apply(record, replayed.records == 0),
                Err(flaw) => Err(flaw),
            };
            if let Err(flaw) = applied {
                return Replayed { flaw: Some(flaw), ..replayed };
            }
            records.accept();
            replayed.good_bytes = records.good_bytes();
            replayed.records += 1;
        }
    }

    fn apply(&mut self, record: Record<Instance>, first: bool) -> Result<(), Flaw> {
        if first != matches!(record, Record::After { .. }) {
            return Err(unexpected(&record));
        }
        // After the end of a process only the start of another can come.
        if self.clean && !matches!(record, Record::Start { .. }) {
            return Err(unexpected(&record));
        }
        match record {
            Record::After { revision } if revision != self.revision => {
                let wanted = self.revision;
                return Err(Flaw::Unexpected(format!("it follows revision {revision}, not {wanted}")));
            }
            Record::After { .. } => {}
            Record::Start { epoch, next_generation } => {
                self.epoch = epoch;
                self.next_generation = self.next_generation.max(next_generation);
                self.clean = false;
            }
            Record::Upsert { revision, handle, instance } => {
                self.step(revision)?;
                self.put(handle, instance);
            }
            Record::Remove { revision, service, instance_id, .. } => {
                self.step(revision)?;
                self.rows.remove(&(service, instance_id));
            }
            Record::Clean { revision, next_generation } => {
                if revision != self.revision {
                    return Err(Flaw::Unexpected(format!("it ends at {revision}, not at {}", self.revision)));
                }
                self.next_generation = self.next_generation.max(next_generation);
                self.clean = true;
            }
            other @ (Record::State { .. } | Record::Row { .. } | Record::End { .. }) => {
                return Err(unexpected(&other));
            }
        }
        Ok(())
    }

    /// All rows, as a store takes them.
    pub(crate) fn packed(&self) -> Vec<(Option<u32>, Packed)> {
        let mut kinds = Kinds::default();
        self.rows.values().map(|(handle, instance)| (*handle, kinds.pack(instance))).collect()
    }

    fn step(&mut self, revision: Revision) -> Result<(), Flaw> {
        if revision.0 != self.revision.0 + 1 {
            let why = format!("revision {revision} follows revision {}", self.revision);
            return Err(Flaw::Unexpected(why));
        }
        self.revision = revision;
        Ok(())
    }

    fn put(&mut self, handle: Option<u32>, instance: Instance) {
        let (key, row) = self.row(handle, instance);
        self.rows.insert(key, row);
    }

    fn row(&mut self, handle: Option<u32>, instance: Instance) -> Row {
        self.next_generation = self.next_generation.max(instance.generation.saturating_add(1));
        let key = (instance.service.clone(), instance.instance_id.clone());
        (key, (handle, Arc::new(instance)))
    }
}

fn unexpected(record: &Record<Instance>) -> Flaw {
    let name = match record {
        Record::State { .. } => "state",
        Record::Row { .. } => "row",
        Record::End { .. } => "end",
        Record::After { .. } => "after",
        Record::Start { .. } => "start",
        Record::Upsert { .. } => "upsert",
        Record::Remove { .. } => "remove",
        Record::Clean { .. } => "clean",
    };
    Flaw::Unexpected(format!("a record '{name}' is where none can be"))
}
