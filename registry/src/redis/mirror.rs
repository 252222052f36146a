//! What a replica knows beside the store: which shared revision wrote each record, what Redis has still to be told.

use std::collections::{HashMap, HashSet, VecDeque};

use super::decide::Drain;
use super::drawn::Drawn;
use super::record::Key;
use crate::store::SharedBeat;

/// Removals that are said again after a failover.
const REMEMBERED_REMOVALS: usize = 10_000;

/// A change that was made here while Redis was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dirty {
    Put { drain: Drain },
    Remove { generation: u64, reason: vertice_registry_api::watch::RemovalReason },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) modified: u64,
    pub(super) generation: u64,
}

/// A heartbeat that Redis has not been told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beaten {
    pub(super) generation: u64,
    pub(super) ttl_s: u32,
    /// Redis did not know the lease when it was told.
    pub(super) lost: bool,
}

/// Every map has at most an entry per instance (which the store limits), but for the removals, which are bounded here.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    known: HashMap<Key, Known, Drawn>,
    by_handle: HashMap<u64, Key, Drawn>,
    /// With the number of the change, so that a later one is not taken for told.
    dirty: HashMap<Key, (Dirty, u64), Drawn>,
    changes: u64,
    pub(super) beats: HashMap<Key, Beaten, Drawn>,
    /// Stale ones that were heard, with the generation: their marks are to be taken back.
    pub(super) to_freshen: HashMap<Key, u64, Drawn>,
    /// `@legacy` instances that were heard since somebody asked.
    pub(super) legacy_heard: HashSet<Key, Drawn>,
    removed: VecDeque<(Key, u64)>,
    next_generation: u64,
}

impl Mirror {
    pub(super) fn known(&self, key: &Key) -> Option<Known> {
        self.known.get(key).copied()
    }

    pub(super) fn all_known(&self) -> impl Iterator<Item = (&Key, &Known)> {
        self.known.iter()
    }

    pub(super) fn named(&self, handle: u64) -> Option<&Key> {
        self.by_handle.get(&handle)
    }

    /// The record of `key` is `known` now.
    pub(super) fn put(&mut self, key: &Key, known: Known) {
        if self.known.insert(key.clone(), known).is_none() {
            self.by_handle.insert(key.handle(), key.clone());
        }
        self.saw_generation(known.generation);
    }

    /// There is no record of `key` any more; `said`: by its owner or an operator, so that it is to be remembered.
    pub(super) fn remove(&mut self, key: &Key, generation: u64, said: bool) {
        if self.known.remove(key).is_some() {
            self.by_handle.remove(&key.handle());
        }
        self.beats.remove(key);
        self.to_freshen.remove(key);
        if said {
            self.removed.push_back((key.clone(), generation));
            if self.removed.len() > REMEMBERED_REMOVALS {
                self.removed.pop_front();
            }
        }
    }

    /// Forgets all records, to be told anew. What Redis has to be told stays.
    pub(super) fn clear_known(&mut self) {
        self.known.clear();
        self.by_handle.clear();
    }

    /// The last removals by owners and operators.
    pub(super) fn removed(&self) -> impl Iterator<Item = &(Key, u64)> {
        self.removed.iter()
    }

    /// A generation higher than any that is known here. `unix_ms` keeps it above those that nobody here knows of.
    pub(super) fn propose(&mut self, unix_ms: u64) -> u64 {
        // A thousand per millisecond, and still exact in a double.
        let proposed = self.next_generation.max(unix_ms.saturating_mul(1000));
        self.next_generation = proposed + 1;
        proposed
    }

    pub(super) fn saw_generation(&mut self, generation: u64) {
        self.next_generation = self.next_generation.max(generation.saturating_add(1));
    }

    /// Whether Redis has to be told of changes.
    pub(super) fn dirty_any(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Memory is what Redis has: what it was told of and what it knew better are both settled.
    pub(super) fn settle(&mut self) {
        self.dirty.clear();
    }

    /// Redis has to be told of `change`.
    pub(super) fn soil(&mut self, key: &Key, change: Dirty) {
        self.changes += 1;
        self.dirty.insert(key.clone(), (change, self.changes));
    }

    /// What Redis has to be told, each with its number.
    pub(super) fn all_dirty(&self) -> impl Iterator<Item = (&Key, &(Dirty, u64))> {
        self.dirty.iter()
    }

    /// The record of `key` was written here: when draining ends, and the number of the change.
    pub(super) fn dirty_put(&self, key: &Key) -> Option<(Drain, u64)> {
        match self.dirty.get(key) {
            Some((Dirty::Put { drain }, number)) => Some((*drain, *number)),
            Some((Dirty::Remove { .. }, _)) | None => None,
        }
    }

    /// Redis was told of the change with this number.
    pub(super) fn told(&mut self, key: &Key, number: u64) {
        if self.dirty.get(key).is_some_and(|(_, last)| *last == number) {
            self.dirty.remove(key);
        }
    }

    /// Notes a heartbeat to be told with the next batch.
    pub(super) fn beat(&mut self, key: Key, SharedBeat { ttl_s, generation, stale }: SharedBeat) {
        self.heard(&key, generation, stale);
        if key.is_legacy() {
            self.legacy_heard.insert(key.clone());
        }
        let lost = self.beats.get(&key).is_some_and(|before| before.lost && before.generation == generation);
        self.beats.insert(key, Beaten { generation, ttl_s, lost });
    }

    /// The holder of `generation` lives; `stale`: it bears the mark.
    pub(super) fn heard(&mut self, key: &Key, generation: u64, stale: bool) {
        if stale {
            self.to_freshen.insert(key.clone(), generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_go_up_whatever_the_clock_does() {
        let mut mirror = Mirror::default();
        assert_eq!(mirror.propose(5), 5000);
        assert_eq!(mirror.propose(5), 5001);
        assert_eq!(mirror.propose(1), 5002);
        mirror.saw_generation(9000);
        assert_eq!(mirror.propose(5), 9001);
    }

    #[test]
    fn a_handle_names_its_record_while_there_is_one() {
        let mut mirror = Mirror::default();
        let key = Key::new("ab", "x");
        mirror.put(&key, Known { modified: 1, generation: 3 });
        mirror.put(&key, Known { modified: 2, generation: 4 });
        assert_eq!(mirror.named(key.handle()), Some(&key));
        mirror.remove(&key, 4, true);
        assert_eq!((mirror.named(key.handle()), mirror.known(&key)), (None, None));
        assert_eq!(mirror.removed().count(), 1);
    }
}
