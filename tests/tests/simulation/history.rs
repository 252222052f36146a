//! What every registry has shown of its history, whoever it was: digests by position, and what was removed when.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::Position;
use vertice_registry_api::digest::SetDigest;

use super::property::{Property, Violation};
use super::truth::Key;

#[derive(Default)]
pub struct History {
    digests: BTreeMap<(u128, u64), SetDigest>,
    removed: BTreeMap<Key, Duration>,
    /// What is registered, where that is noted: with replicas, of which one may know what another does not.
    put: Option<BTreeMap<Key, Duration>>,
}

impl History {
    pub fn of_replicas() -> Self {
        Self { put: Some(BTreeMap::new()), ..Self::default() }
    }

    /// The set at `position`, whatever was said of it before.
    pub fn began(&mut self, position: Position, digest: SetDigest) {
        self.digests.insert((position.epoch.0, position.revision.0), digest);
    }

    /// P1: at one position there is one set, wherever it is seen.
    pub fn at(&mut self, position: Position, digest: SetDigest) -> Result<(), Violation> {
        match self.digests.insert((position.epoch.0, position.revision.0), digest) {
            Some(before) if before != digest => {
                let what = format!("at {position} there was {before}, and elsewhere {digest}");
                Violation::of(Property::P1, what)
            }
            _ => Ok(()),
        }
    }

    pub fn digest_at(&self, position: Position) -> Option<SetDigest> {
        self.digests.get(&(position.epoch.0, position.revision.0)).copied()
    }

    pub fn removed(&mut self, key: Key, now: Duration) {
        if let Some(put) = &mut self.put {
            put.remove(&key);
        }
        self.removed.insert(key, now);
    }

    pub fn put(&mut self, key: &Key, now: Duration) {
        if let Some(put) = &mut self.put {
            put.entry(key.clone()).or_insert(now);
        }
    }

    /// When a registry last removed it and said why.
    pub fn removed_at(&self, key: &Key) -> Option<Duration> {
        self.removed.get(key).copied()
    }

    /// Whether the last that was heard of it is that it went.
    pub fn is_removed(&self, key: &Key) -> bool {
        self.removed.contains_key(key) && self.put.as_ref().is_some_and(|put| !put.contains_key(key))
    }
}
