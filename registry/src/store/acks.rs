//! Which gateway has applied which revision: the pure half of the drain barrier.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::barrier::BarrierAnswer;
use vertice_registry_api::{Epoch, Position, Revision};

/// A gateway that is behind and has said nothing for so long is not waited for any longer. One that is not behind has
/// nothing to say, however long that lasts: silence is only telling when there is something to apply.
pub const SILENT_AFTER: Duration = Duration::from_mins(1);
/// Gateways that are remembered.
pub const MAX_GATEWAYS: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Acked {
    revision: Revision,
    /// When it was first seen to be behind since its last word.
    behind_since: Option<Duration>,
}

/// The acknowledgements of all gateways within one epoch.
#[derive(Debug, Default)]
pub struct Acks {
    epoch: Option<Epoch>,
    gateways: BTreeMap<String, Acked>,
}

impl Acks {
    /// Notes that `gateway` has `revision` applied, which never goes back, while the registry is at `current`.
    /// Whether there was room.
    pub fn ack(&mut self, gateway: &str, revision: Revision, current: Position, now: Duration) -> bool {
        self.enter(current.epoch);
        if let Some(acked) = self.gateways.get_mut(gateway) {
            *acked = Acked { revision: acked.revision.max(revision), behind_since: None };
            return true;
        }
        self.forget_silent(current.revision, now);
        if self.gateways.len() >= MAX_GATEWAYS {
            return false;
        }
        self.gateways.insert(gateway.to_owned(), Acked { revision, behind_since: None });
        true
    }

    /// Who has applied `revision`, while the registry is at `current`.
    pub fn judge(&mut self, revision: Revision, current: Position, now: Duration) -> BarrierAnswer {
        self.enter(current.epoch);
        self.forget_silent(current.revision, now);
        let behind = self.gateways.iter().filter(|(_, acked)| acked.revision < revision);
        let missing: Vec<String> = behind.map(|(gateway, _)| gateway.clone()).collect();
        let total = self.gateways.len();
        BarrierAnswer { applied: total - missing.len(), total, missing }
    }

    /// How long until the next gateway counts as silent; `None` when none is behind.
    pub fn next_silence(&self, now: Duration) -> Option<Duration> {
        let behind = self.gateways.values().filter_map(|acked| acked.behind_since);
        behind.map(|since| (since + SILENT_AFTER).saturating_sub(now)).min()
    }

    /// What was acknowledged in another epoch says nothing in this one, where revisions may be lower. The gateways are still
    /// there: nobody knows that they have applied anything, so they are waited for.
    fn enter(&mut self, epoch: Epoch) {
        if self.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            for acked in self.gateways.values_mut() {
                *acked = Acked { revision: Revision(0), behind_since: None };
            }
        }
    }

    fn forget_silent(&mut self, current: Revision, now: Duration) {
        self.gateways.retain(|_, acked| {
            if acked.revision >= current {
                return true;
            }
            now.saturating_sub(*acked.behind_since.get_or_insert(now)) < SILENT_AFTER
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;
    const R: fn(u64) -> Revision = Revision;
    const P: fn(u64) -> Position = |revision| Position { epoch: Epoch(1), revision: Revision(revision) };

    #[test]
    fn a_gateway_that_is_not_behind_is_never_silent() {
        let mut acks = Acks::default();
        assert!(acks.ack("idle", R(5), P(5), AT(0)));
        assert_eq!(acks.judge(R(5), P(5), AT(1_000_000)).applied, 1);
        assert_eq!(acks.next_silence(AT(1_000_000)), None);
        let behind = acks.judge(R(6), P(6), AT(1_000_001));
        assert_eq!(
            (behind.total, behind.missing),
            (1, vec!["idle".to_owned()]),
            "now it has something to say"
        );
    }

    #[test]
    fn a_gateway_that_stays_behind_is_forgotten_unless_it_speaks() {
        let mut acks = Acks::default();
        assert!(acks.ack("dead", R(3), P(5), AT(0)) && acks.ack("slow", R(3), P(5), AT(0)));
        assert_eq!(acks.judge(R(5), P(5), AT(10)).missing.len(), 2);
        assert!(acks.ack("slow", R(4), P(5), AT(40)));
        assert_eq!(acks.next_silence(AT(40)), Some(AT(20)), "the dead one was seen behind at 0");
        assert_eq!(acks.judge(R(5), P(5), AT(59)).missing.len(), 2);
        assert_eq!(acks.judge(R(5), P(5), AT(60)).missing, ["slow"]);
    }

    #[test]
    fn an_acknowledgement_never_goes_back() {
        let mut acks = Acks::default();
        assert!(acks.ack("a", R(5), P(5), AT(0)) && acks.ack("a", R(3), P(5), AT(1)));
        assert!(acks.judge(R(5), P(5), AT(1)).missing.is_empty());
    }

    #[test]
    fn what_was_acknowledged_in_another_epoch_proves_nothing_and_its_gateways_are_waited_for() {
        let mut acks = Acks::default();
        assert!(acks.ack("a", R(9), P(9), AT(0)));
        let next = |revision| Position { epoch: Epoch(2), revision: Revision(revision) };
        assert_eq!(acks.judge(R(3), next(3), AT(1)).missing, ["a"]);
        assert!(acks.ack("a", R(3), next(3), AT(2)));
        assert!(acks.judge(R(3), next(3), AT(2)).missing.is_empty());
    }
}
