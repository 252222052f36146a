//! What a replica that comes back has to say: which of the things that it holds Redis may not know. Pure; the last word
//! has the script, which compares once more.

use std::collections::HashMap;

use super::drawn::Drawn;
use super::record::{Key, Row};

/// What is known here of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// The shared revision that wrote it.
    pub(super) modified: u64,
    pub(super) generation: u64,
    pub(super) incarnation: u64,
    /// Changed here while Redis was away.
    pub(super) dirty: bool,
    /// Its owner was heard here since Redis last took heartbeats.
    pub(super) heard: bool,
}

/// Whether `local` is to be asserted against what Redis has of that key. `new_epoch`: Redis may have gone back.
pub(super) fn asserts(local: Local, remote: Option<&Row>, new_epoch: bool) -> bool {
    let Some(row) = remote else {
        // Within an epoch, absence is a removal that counts, unless the owner lives.
        return new_epoch || local.dirty || local.heard;
    };
    let remote = &row.instance;
    if remote.incarnation != local.incarnation {
        return remote.incarnation < local.incarnation && (new_epoch || local.dirty);
    }
    match local.generation.cmp(&remote.generation) {
        std::cmp::Ordering::Greater => new_epoch || local.dirty,
        std::cmp::Ordering::Equal => local.dirty || (new_epoch && local.modified > row.modified),
        std::cmp::Ordering::Less => false,
    }
}

/// Whether the removal of `generation` is to be said again.
pub(super) fn buries(generation: u64, remote: Option<&Row>) -> bool {
    remote.is_none_or(|row| row.instance.generation <= generation)
}

/// The revision that an assertion names: the one that was looked at.
pub(super) fn looked_at(remote: &HashMap<Key, Row, Drawn>, key: &Key) -> Option<u64> {
    remote.get(key).map(|row| row.modified)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::record::tests::instance;
    use super::*;

    fn local(modified: u64, generation: u64) -> Local {
        Local { modified, generation, incarnation: 5, dirty: false, heard: false }
    }

    fn row(modified: u64, generation: u64, incarnation: u64) -> Row {
        let mut instance = instance("ab", "x", generation);
        instance.incarnation = incarnation;
        Row { modified, instance: Arc::new(instance) }
    }

    #[test]
    fn in_the_same_epoch_redis_is_right_about_all_that_was_not_changed_or_heard_here() {
        assert!(!asserts(local(7, 3), None, false));
        assert!(!asserts(local(7, 3), Some(&row(9, 2, 5)), false));
        assert!(asserts(Local { heard: true, ..local(7, 3) }, None, false));
        assert!(asserts(Local { dirty: true, ..local(7, 3) }, None, false));
        assert!(asserts(Local { dirty: true, ..local(7, 3) }, Some(&row(9, 2, 5)), false));
        assert!(asserts(Local { dirty: true, ..local(7, 3) }, Some(&row(9, 3, 5)), false));
    }

    #[test]
    fn in_a_new_epoch_what_is_newer_here_is_said_again() {
        assert!(asserts(local(7, 3), None, true));
        assert!(asserts(local(7, 3), Some(&row(5, 2, 5)), true));
        assert!(asserts(local(7, 3), Some(&row(5, 3, 5)), true));
        assert!(!asserts(local(7, 3), Some(&row(7, 3, 5)), true));
        assert!(!asserts(local(7, 3), Some(&row(9, 3, 5)), true));
    }

    #[test]
    fn a_higher_generation_or_incarnation_there_always_wins() {
        for (dirty, new_epoch) in [(true, true), (true, false), (false, true)] {
            let local = Local { dirty, ..local(7, 3) };
            assert!(!asserts(local, Some(&row(1, 4, 5)), new_epoch));
            assert!(!asserts(local, Some(&row(1, 2, 6)), new_epoch));
            assert!(asserts(local, Some(&row(1, 4, 4)), new_epoch), "a newer start wins over any generation");
        }
        assert!(buries(3, None) && buries(3, Some(&row(1, 3, 5))) && !buries(3, Some(&row(1, 4, 5))));
    }
}
