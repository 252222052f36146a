//! The Redis that all replicas share: one hash per name with a deadline, and an index without one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The lifetime of a record without a heartbeat.
pub const TTL: Duration = Duration::from_mins(1);

/// The hash `services:{name}`. A record without an endpoint is what Q11 leaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// As registered.
    pub endpoint: Option<String>,
    /// As registered.
    pub health_endpoint: String,
    /// As registered.
    pub metadata: BTreeMap<String, String>,
    /// Since the start of the fake's time.
    pub registered_at: Duration,
    /// Since the start of the fake's time.
    pub last_heartbeat: Duration,
    /// The key's expiry.
    pub expires: Duration,
}

/// The hashes and the set `services:index`.
#[derive(Clone, Debug, Default)]
pub struct Redis {
    hashes: BTreeMap<String, Record>,
    index: BTreeSet<String>,
}

impl Redis {
    /// The record of `name`, if its key has not expired.
    pub fn get(&self, name: &str, now: Duration) -> Option<&Record> {
        self.hashes.get(name).filter(|record| now < record.expires)
    }

    /// MULTI: HSET, EXPIRE, SADD. A second registration of a name overwrites the first (Q9).
    pub fn set(&mut self, name: &str, record: Record) {
        self.hashes.insert(name.to_owned(), record);
        self.index.insert(name.to_owned());
    }

    /// HSET last_heartbeat, EXPIRE. Creates the hash if it is not there: that is the race of Q11.
    pub fn beat(&mut self, name: &str, now: Duration) {
        self.hashes.retain(|_, record| now < record.expires);
        let record = self.hashes.entry(name.to_owned()).or_default();
        record.last_heartbeat = now;
        record.expires = now + TTL;
    }

    /// DEL and SREM.
    pub fn delete(&mut self, name: &str) {
        self.hashes.remove(name);
        self.index.remove(name);
    }

    /// FLUSHALL.
    pub fn flush(&mut self) {
        *self = Self::default();
    }

    /// SMEMBERS, sorted.
    pub fn index(&self) -> Vec<String> {
        self.index.iter().cloned().collect()
    }

    /// Takes names without a live record off the index; which.
    pub fn sweep(&mut self, now: Duration) -> Vec<String> {
        self.hashes.retain(|_, record| now < record.expires);
        let (keep, gone) = self.index.iter().cloned().partition(|name| self.hashes.contains_key(name));
        self.index = keep;
        gone.into_iter().collect::<BTreeSet<String>>().into_iter().collect()
    }
}
