//! What it means that a whole read lacks an instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vertice_registry_api::{Instance, InstanceId, Position, ServiceName, ServiceUrl, SourceState};

use super::hold::Absence;
use super::{Hold, HoldEnd, HoldReason, View};
use crate::event::{Authority, SourceKind};

/// Between two requests for a second read: a large snapshot takes a while to come.
const READ_PAUSE: Duration = Duration::from_secs(10);

impl View {
    /// Whether a second read would end holds now; then ask the source for one. Asks no more often than every ten seconds.
    pub fn wants_read(&mut self, now: Instant) -> bool {
        let ready = self.status.kind == Some(SourceKind::Watched)
            && self.status.state == Some(SourceState::Serving)
            && self.status.failing_since.is_none();
        let asked = self.read_asked.is_some_and(|at| now.saturating_duration_since(at) < READ_PAUSE);
        if !ready || asked {
            return false;
        }
        let wanted = self.held().any(|(_, seen)| seen.hold.is_some_and(|hold| hold.wants_read(now)));
        if wanted {
            self.read_asked = Some(now);
        }
        wanted
    }

    /// Why an instance that this read lacks is held: rules 2 and 3.
    pub(super) fn what_missing_means(
        &self,
        position: Option<Position>,
        state: SourceState,
        authority: Authority,
    ) -> HoldReason {
        let known_epoch = self.position().map(|position| position.epoch);
        match (authority, position) {
            (Authority::Partial, _) | (Authority::Complete, None) => HoldReason::NoHistory,
            (Authority::Complete, Some(position)) if Some(position.epoch) != known_epoch => {
                HoldReason::NewEpoch
            }
            (Authority::Complete, Some(_)) if state != SourceState::Serving => HoldReason::NotServing,
            (Authority::Complete, Some(_)) => HoldReason::Missing,
        }
    }

    pub(super) fn replace(
        &mut self,
        instances: &[Arc<Instance>],
        unread: &BTreeSet<ServiceName>,
        meaning: HoldReason,
        now: Instant,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let mut named: BTreeMap<&ServiceName, BTreeSet<&InstanceId>> = BTreeMap::new();
        for instance in instances {
            named.entry(&instance.service).or_default().insert(&instance.instance_id);
            // A poll repeats its last good reads here: their proof was the read itself, not this list of them.
            self.upsert(instance, now, changed);
        }
        let mut confirmed = Vec::new();
        for (name, service) in &mut self.services {
            if unread.contains(name) {
                continue;
            }
            let named = named.get(name);
            for (id, seen) in &mut service.instances {
                if named.is_some_and(|ids| ids.contains(id)) {
                    continue;
                }
                let Some(hold) = &mut seen.hold else {
                    seen.hold = Some(Hold::new(meaning, service.last_proof, now));
                    self.holds.entry(name.clone()).or_default().insert(id.clone());
                    self.held += 1;
                    changed.insert(name.clone());
                    continue;
                };
                match hold.absent_again(meaning, now) {
                    Absence::Same => {}
                    Absence::OtherReason => {
                        changed.insert(name.clone());
                    }
                    Absence::Confirmed => {
                        confirmed.push((name.clone(), id.clone(), hold.last_probe == Some(false)));
                    }
                }
            }
        }
        // Taken before the dead ones go, for whom the guard is not there.
        let living = confirmed.iter().filter(|(_, _, dead)| !dead).count();
        let let_go = living > 0 && self.guard.take(living, self.count, now);
        for (name, id, dead) in confirmed {
            if dead || let_go {
                self.remove(&name, &id, HoldEnd::Confirmed, changed);
            }
        }
    }

    /// Rule 4: drops held instances of `services` whose URL another, vouched-for instance has now.
    pub(super) fn supersede<'a>(
        &mut self,
        services: impl Iterator<Item = &'a ServiceName>,
        changed: &mut BTreeSet<ServiceName>,
    ) {
        let services: BTreeSet<_> = services.filter(|name| self.holds.contains_key(*name)).collect();
        for name in services {
            let Some(service) = self.services.get(name) else { continue };
            let (held, vouched): (Vec<_>, Vec<_>) =
                service.instances.iter().partition(|(_, seen)| seen.hold.is_some());
            let urls: BTreeSet<&ServiceUrl> = vouched.iter().map(|(_, seen)| &seen.instance.url).collect();
            let doubles: Vec<_> = held
                .into_iter()
                .filter(|(_, seen)| urls.contains(&seen.instance.url))
                .map(|(id, _)| id.clone())
                .collect();
            for id in doubles {
                self.remove(name, &id, HoldEnd::Superseded, changed);
            }
        }
    }
}
