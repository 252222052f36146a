//! The last changes, for watchers: a ring bounded by count and by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, InstanceId, Revision, ServiceName};

/// One step of history, sharing its content with the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// New or different.
    Upsert(Arc<Instance>),
    /// Gone.
    Remove {
        /// Whose copy.
        service: ServiceName,
        /// Which.
        instance_id: InstanceId,
        /// The generation that went.
        generation: u64,
        /// Why.
        reason: RemovalReason,
    },
}

/// Changes in order and without a gap: the first has the revision `from` + 1, the last `to`.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Before the first.
    pub from: Revision,
    /// After the last.
    pub to: Revision,
    /// In order.
    pub changes: Vec<Change>,
    /// Of the whole set at `to`.
    pub digest: SetDigest,
}

#[derive(Debug)]
struct Entry {
    change: Change,
    /// Of the whole set after this change, so that a delta may end anywhere.
    digest: SetDigest,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct ChangeLog {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: Revision,
    max_entries: usize,
    max_bytes: usize,
}

impl ChangeLog {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, last: Revision(0), max_entries, max_bytes }
    }

    /// An empty log after which revision `last` + 1 comes.
    pub(super) fn starting_at(last: Revision, max_entries: usize, max_bytes: usize) -> Self {
        Self { last, ..Self::new(max_entries, max_bytes) }
    }

    /// The revision of the last change.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    /// The oldest revision that a watch can start from.
    pub(super) fn oldest(&self) -> Revision {
        Revision(self.last.0.saturating_sub(u64::try_from(self.entries.len()).unwrap_or(u64::MAX)))
    }

    pub(super) fn push(&mut self, change: Change, digest: SetDigest) {
        let bytes = weigh(&change);
        self.bytes += bytes;
        self.last.0 += 1;
        self.entries.push_back(Entry { change, digest, bytes });
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    /// What came after `from`, at most about `max_bytes` of it but at least one change. `None`: not in the log.
    /// `now_digest` is the digest for the case that nothing came.
    pub(super) fn since(&self, from: Revision, max_bytes: usize, now_digest: SetDigest) -> Option<Delta> {
        if from > self.last || from < self.oldest() {
            return None;
        }
        let skip = usize::try_from(from.0 - self.oldest().0).ok()?;
        let mut delta = Delta { from, to: from, changes: Vec::new(), digest: now_digest };
        let mut bytes = 0;
        for entry in self.entries.range(skip..) {
            bytes += entry.bytes;
            if bytes > max_bytes && !delta.changes.is_empty() {
                break;
            }
            delta.changes.push(entry.change.clone());
            delta.to.0 += 1;
            delta.digest = entry.digest;
        }
        Some(delta)
    }
}

/// About what a change takes, in memory as well as on the wire.
fn weigh(change: &Change) -> usize {
    /// The names and numbers around the strings.
    const FRAME_BYTES: usize = 400;
    let strings = match change {
        Change::Upsert(instance) => {
            let labels: usize = instance.metadata.iter().map(|(k, v)| k.len() + v.len() + 64).sum();
            labels + instance.url.base().len() + instance.registered_by.len()
        }
        Change::Remove { .. } => 0,
    };
    FRAME_BYTES + strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal() -> Change {
        Change::Remove {
            service: ServiceName::parse("ab").unwrap(),
            instance_id: InstanceId::legacy(),
            generation: 1,
            reason: RemovalReason::Expired,
        }
    }

    #[test]
    fn the_ring_forgets_by_count_and_by_bytes() {
        for (mut log, kept) in [(ChangeLog::new(3, usize::MAX), 3), (ChangeLog::new(99, 900), 2)] {
            for _ in 0..10 {
                log.push(removal(), SetDigest::default());
            }
            assert_eq!(log.last(), Revision(10));
            assert_eq!(log.oldest(), Revision(10 - kept));
            assert!(log.since(Revision(10 - kept - 1), usize::MAX, SetDigest::default()).is_none());
            assert!(log.since(Revision(11), usize::MAX, SetDigest::default()).is_none());
        }
    }

    #[test]
    fn a_delta_is_cut_by_bytes_but_never_empty_while_there_is_more() {
        let mut log = ChangeLog::new(99, usize::MAX);
        for _ in 0..10 {
            log.push(removal(), SetDigest::default());
        }
        let cut = log.since(Revision(2), 1000, SetDigest::default()).unwrap();
        assert_eq!((cut.from, cut.to, cut.changes.len()), (Revision(2), Revision(4), 2));
        let least = log.since(Revision(2), 1, SetDigest::default()).unwrap();
        assert_eq!(least.to, Revision(3));
        let none = log.since(Revision(10), 1, SetDigest::default()).unwrap();
        assert!(none.changes.is_empty() && none.to == Revision(10));
    }
}
