//! The registry's set as it is known here: applies a watch's answers, and proves by the digest that both sides agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::snapshot::Snapshot;
use vertice_registry_api::watch::{ChangeOp, WatchAnswer};
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName, SourceState};

use crate::error::SourceError;
use crate::event::SetChange;

/// A copy of the registry's set at a position. After an error it is of no more use: take a snapshot.
pub struct Replica {
    instances: BTreeMap<(ServiceName, InstanceId), Arc<Instance>>,
    digest: SetDigest,
    position: Position,
    state: SourceState,
}

impl Replica {
    /// The content of `snapshot`. What `previous` has already is shared with it, so that a resync does not double the
    /// memory of everyone who holds instances. Never an earlier moment of the same history: what was applied, and
    /// acknowledged, is not taken back because another replica answers.
    pub fn new(snapshot: Snapshot, previous: Option<&Replica>) -> Result<Self, SourceError> {
        let behind = |p: &&Replica| {
            p.position.epoch == snapshot.position.epoch && p.position.revision > snapshot.position.revision
        };
        if let Some(ahead) = previous.filter(behind) {
            let (known, read) = (ahead.position.revision.0, snapshot.position.revision.0);
            return Err(SourceError::Behind { known, read });
        }
        let mut instances = BTreeMap::new();
        for instance in snapshot.instances {
            let key = (instance.service.clone(), instance.instance_id.clone());
            let known = previous.and_then(|p| p.instances.get(&key)).filter(|known| ***known == instance);
            let instance = known.map_or_else(|| Arc::new(instance), Arc::clone);
            if let Some(twice) = instances.insert(key, instance) {
                let reason = format!("the snapshot has {} {} twice", twice.service, twice.instance_id);
                return Err(SourceError::NotOurs { content_type: "a snapshot".into(), reason });
            }
        }
        let Snapshot { position, state, digest, .. } = snapshot;
        Ok(Self { instances, digest, position, state })
    }

    /// Takes one answer of the watch in: all of it, or (on an error) none of it counts.
    pub fn apply(&mut self, answer: WatchAnswer) -> Result<Vec<SetChange>, SourceError> {
        let gap = SourceError::Gap { known: self.position.revision.0, from: answer.from.0 };
        if answer.epoch != self.position.epoch || answer.from != self.position.revision {
            return Err(gap);
        }
        let mut changes = Vec::with_capacity(answer.changes.len());
        let mut at = answer.from.0;
        for change in answer.changes {
            at = at.saturating_add(1);
            if change.revision.0 != at {
                return Err(SourceError::Gap { known: at - 1, from: change.revision.0 });
            }
            changes.push(self.apply_one(change.op));
        }
        if at != answer.to.0 {
            return Err(SourceError::Gap { known: at, from: answer.to.0 });
        }
        if self.digest != answer.digest {
            return Err(SourceError::Digest);
        }
        self.position.revision = answer.to;
        self.state = answer.state;
        Ok(changes)
    }

    fn apply_one(&mut self, op: ChangeOp) -> SetChange {
        match op {
            ChangeOp::Upsert { instance } => {
                let instance: Arc<Instance> = Arc::from(instance);
                self.digest.add(&instance);
                let key = (instance.service.clone(), instance.instance_id.clone());
                if let Some(before) = self.instances.insert(key, instance.clone()) {
                    self.digest.remove(&before);
                }
                SetChange::Upsert(instance)
            }
            ChangeOp::Remove { service, instance_id, generation: _, reason } => {
                let key = (service, instance_id);
                if let Some(before) = self.instances.remove(&key) {
                    self.digest.remove(&before);
                }
                let (service, instance_id) = key;
                SetChange::Removed { service, instance_id, reason }
            }
        }
    }

    /// All of it.
    pub fn instances(&self) -> Vec<Arc<Instance>> {
        self.instances.values().cloned().collect()
    }

    /// Where in history it is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The digest that both sides have there.
    pub fn digest(&self) -> SetDigest {
        self.digest
    }

    /// What the registry last said of itself.
    pub fn state(&self) -> SourceState {
        self.state
    }

    /// The registry said so without a change.
    pub fn set_state(&mut self, state: SourceState) {
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{at, id, instance, name};
    use vertice_registry_api::Revision;
    use vertice_registry_api::watch::{Change, RemovalReason};

    #[test]
    fn an_earlier_moment_of_the_same_history_is_refused() {
        let known = replica(&[instance("alpha", "a:1")]);
        let read = |epoch, revision| {
            let (position, state) = (at(epoch, revision), SourceState::Degraded);
            let snapshot = Snapshot { position, state, instances: Vec::new(), digest: SetDigest::default() };
            Replica::new(snapshot, Some(&known)).map(|replica| replica.position())
        };
        assert_eq!(read(1, 4), Err(SourceError::Behind { known: 5, read: 4 }));
        for (epoch, revision) in [(1, 5), (1, 6), (2, 1)] {
            assert_eq!(read(epoch, revision), Ok(at(epoch, revision)));
        }
    }

    fn replica(instances: &[Instance]) -> Replica {
        let digest = SetDigest::of(instances);
        let snapshot = Snapshot {
            position: at(1, 5),
            state: SourceState::Serving,
            instances: instances.to_vec(),
            digest,
        };
        Replica::new(snapshot, None).unwrap()
    }

    fn answer(ops: Vec<ChangeOp>, after: &[Instance]) -> WatchAnswer {
        let changes: Vec<_> = ops
            .into_iter()
            .zip(6..)
            .map(|(op, revision)| Change { revision: Revision(revision), op })
            .collect();
        let to = Revision(5 + u64::try_from(changes.len()).unwrap());
        let digest = SetDigest::of(after);
        WatchAnswer {
            epoch: at(1, 0).epoch,
            from: Revision(5),
            to,
            changes,
            digest,
            state: SourceState::Preserving,
        }
    }

    fn upsert(instance: &Instance) -> ChangeOp {
        ChangeOp::Upsert { instance: Box::new(instance.clone()) }
    }

    fn remove(service: &str, instance_id: &str) -> ChangeOp {
        let reason = RemovalReason::Expired;
        ChangeOp::Remove { service: name(service), instance_id: id(instance_id), generation: 1, reason }
    }

    #[test]
    fn changes_apply_in_order_and_agree_with_the_registrys_digest() {
        let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
        let drained = Instance { weight: 0, ..a.clone() };
        let mut replica = replica(std::slice::from_ref(&a));
        let ops = vec![upsert(&drained), upsert(&b), remove("beta", "b:1"), upsert(&b)];
        let changes = replica.apply(answer(ops, &[drained, b])).unwrap();
        assert_eq!(changes.len(), 4);
        assert_eq!(replica.position(), at(1, 9));
        assert_eq!(replica.state(), SourceState::Preserving);
    }

    #[test]
    fn what_does_not_follow_on_is_refused() {
        let a = instance("alpha", "a:1");
        let b = instance("beta", "b:1");
        let both = [a.clone(), b.clone()];
        let good = || answer(vec![upsert(&b)], &both);
        let refused = |answer| replica(std::slice::from_ref(&a)).apply(answer).unwrap_err();
        assert!(replica(std::slice::from_ref(&a)).apply(good()).is_ok());

        let gap = |error| assert!(matches!(error, SourceError::Gap { .. }), "{error:?}");
        gap(refused(WatchAnswer { from: Revision(4), ..good() }));
        gap(refused(WatchAnswer { epoch: at(2, 0).epoch, ..good() }));
        gap(refused(WatchAnswer { to: Revision(7), ..good() }));
        gap(refused(WatchAnswer { changes: Vec::new(), ..good() }));
        let skipped = Change { revision: Revision(7), op: upsert(&b) };
        gap(refused(WatchAnswer { changes: vec![skipped], to: Revision(7), ..good() }));
        assert_eq!(refused(WatchAnswer { digest: SetDigest::default(), ..good() }), SourceError::Digest);
    }

    #[test]
    fn a_resync_shares_what_did_not_change() {
        let (a, b) = (instance("alpha", "a:1"), instance("beta", "b:1"));
        let before = replica(&[a.clone(), b.clone()]);
        let heavier = Instance { weight: 200, ..b };
        let instances = vec![a, heavier];
        let digest = SetDigest::of(&instances);
        let snapshot = Snapshot { position: at(2, 0), state: SourceState::Warming, instances, digest };
        let after = Replica::new(snapshot, Some(&before)).unwrap();
        let shared: Vec<_> =
            before.instances().iter().zip(after.instances()).map(|(x, y)| Arc::ptr_eq(x, &y)).collect();
        assert_eq!(shared, [true, false]);
    }

    #[test]
    fn one_instance_twice_is_no_snapshot() {
        let a = instance("alpha", "a:1");
        let instances = vec![a.clone(), a];
        let digest = SetDigest::of(&instances);
        let snapshot = Snapshot { position: at(1, 0), state: SourceState::Serving, instances, digest };
        assert!(Replica::new(snapshot, None).is_err());
    }
}
