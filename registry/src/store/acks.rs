//! Which gateway has applied which revision: the pure half of the drain barrier.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::Revision;
use vertice_registry_api::barrier::BarrierAnswer;

/// A gateway that has not acknowledged anything for so long is not waited for. Gateways repeat their last
/// acknowledgement every 20 s, so this is three of them.
pub const SILENT_AFTER: Duration = Duration::from_mins(1);
/// Gateways that are remembered.
pub const MAX_GATEWAYS: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Acked {
    revision: Revision,
    at: Duration,
}

/// The acknowledgements of all gateways within one epoch.
#[derive(Debug, Default)]
pub struct Acks {
    gateways: BTreeMap<String, Acked>,
}

impl Acks {
    /// Notes that `gateway` has `revision` applied; it never goes back. Whether there was room.
    pub fn ack(&mut self, gateway: &str, revision: Revision, now: Duration) -> bool {
        if let Some(acked) = self.gateways.get_mut(gateway) {
            *acked = Acked { revision: acked.revision.max(revision), at: now };
            return true;
        }
        self.forget_silent(now);
        if self.gateways.len() >= MAX_GATEWAYS {
            return false;
        }
        self.gateways.insert(gateway.to_owned(), Acked { revision, at: now });
        true
    }

    /// Who has applied `revision`.
    pub fn judge(&mut self, revision: Revision, now: Duration) -> BarrierAnswer {
        self.forget_silent(now);
        let behind = self.gateways.iter().filter(|(_, acked)| acked.revision < revision);
        let missing: Vec<String> = behind.map(|(gateway, _)| gateway.clone()).collect();
        let total = self.gateways.len();
        BarrierAnswer { applied: total - missing.len(), total, missing }
    }

    /// How long until the next gateway counts as silent; `None` when there is none.
    pub fn next_silence(&self, now: Duration) -> Option<Duration> {
        self.gateways.values().map(|acked| (acked.at + SILENT_AFTER).saturating_sub(now)).min()
    }

    fn forget_silent(&mut self, now: Duration) {
        self.gateways.retain(|_, acked| now.saturating_sub(acked.at) < SILENT_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_barrier_waits_for_live_gateways_only() {
        let mut acks = Acks::default();
        assert!(acks.ack("a", Revision(5), AT(0)) && acks.ack("b", Revision(3), AT(30)));
        let answer = acks.judge(Revision(5), AT(31));
        assert_eq!((answer.applied, answer.total, answer.missing), (1, 2, vec!["b".to_owned()]));
        assert_eq!(acks.next_silence(AT(31)), Some(AT(29)));
        assert_eq!(acks.judge(Revision(5), AT(60)).total, 1, "a has been silent for a minute");
        assert_eq!(acks.judge(Revision(5), AT(90)).total, 0);
        assert_eq!(acks.next_silence(AT(90)), None);
    }

    #[test]
    fn an_acknowledgement_never_goes_back() {
        let mut acks = Acks::default();
        assert!(acks.ack("a", Revision(5), AT(0)) && acks.ack("a", Revision(3), AT(1)));
        assert!(acks.judge(Revision(5), AT(1)).missing.is_empty());
    }
}
