//! What a write would do to the record that it meets: the rules of the store, as decisions. A test holds the two together.

use vertice_registry_api::register::Registration;
use vertice_registry_api::watch::RemovalReason;
use vertice_registry_api::{Instance, Lease, Status, limits};

use crate::store::{Patch, Refusal};

/// A write, before anybody has done it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Refuse(Refusal),
    /// Only the lease.
    Renew {
        generation: u64,
        ttl_s: u32,
    },
    Put(Box<Put>),
    Remove(RemovalReason),
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Put {
    /// All of it; its generation is the one before where none is drawn.
    pub(super) instance: Instance,
    /// Whether the generation is a new one.
    pub(super) draws: bool,
    pub(super) created: bool,
    /// Whether the lease begins anew.
    pub(super) renews: bool,
    pub(super) drain: Drain,
}

/// The end of draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// As it is.
    Keep,
    /// There is none.
    Clear,
    /// In so many seconds.
    In(u32),
}

/// Registering `wanted` over `held`.
pub(super) fn register(held: Option<&Instance>, wanted: &Registration, by: &str, unix_ms: u64) -> Decision {
    let mut after = content(wanted, by, unix_ms);
    let Some(before) = held else {
        let put = Put { instance: after, draws: true, created: true, renews: true, drain: Drain::Clear };
        return Decision::Put(Box::new(put));
    };
    if after.incarnation < before.incarnation {
        return Decision::Refuse(Refusal::OlderIncarnation { held: before.incarnation });
    }
    let newer = after.incarnation > before.incarnation;
    after.generation = before.generation;
    after.registered_at_ms = before.registered_at_ms;
    // Being stale is not content of the registrant's; a renewal takes it back.
    after.stale = before.stale;
    // An operator's word outlives the process that it was about, until the record goes.
    after.status_override = before.status_override;
    if !newer && after == *before {
        return renew(Some(before), None);
    }
    after.stale = false;
    let draws = newer || after.incarnation == 0;
    if draws {
        after.registered_at_ms = unix_ms;
    }
    let drain = if after.status == Status::Draining { Drain::Keep } else { Drain::Clear };
    Decision::Put(Box::new(Put { instance: after, draws, created: false, renews: true, drain }))
}

/// A heartbeat for `held`: only the lease, unless it is stale.
pub(super) fn renew(held: Option<&Instance>, generation: Option<u64>) -> Decision {
    match owned(held, generation) {
        Err(refusal) => Decision::Refuse(refusal),
        Ok(held) if held.stale => {
            let instance = Instance { stale: false, ..held.clone() };
            let put = Put { instance, draws: false, created: false, renews: true, drain: Drain::Keep };
            Decision::Put(Box::new(put))
        }
        Ok(held) => Decision::Renew { generation: held.generation, ttl_s: held.lease.ttl_s },
    }
}

/// Changing some fields of `held`.
pub(super) fn patch(held: Option<&Instance>, generation: Option<u64>, patch: &Patch) -> Decision {
    let before = match owned(held, generation) {
        Ok(before) => before,
        Err(refusal) => return Decision::Refuse(refusal),
    };
    let mut after = before.clone();
    after.status = patch.status.unwrap_or(after.status);
    after.weight = patch.weight.unwrap_or(after.weight);
    after.status_override = patch.status_override.unwrap_or(after.status_override);
    let drain = match patch.status {
        None => Drain::Keep,
        Some(Status::Draining) => patch.deadline_s.map_or(Drain::Clear, Drain::In),
        Some(Status::Starting | Status::Up | Status::Down) => Drain::Clear,
    };
    if after == *before && drain == Drain::Keep {
        return Decision::Nothing;
    }
    Decision::Put(Box::new(Put { instance: after, draws: false, created: false, renews: false, drain }))
}

/// Removing `held` by its owner's word.
pub(super) fn deregister(held: Option<&Instance>, generation: Option<u64>) -> Decision {
    match owned(held, generation) {
        Ok(before) if before.status == Status::Draining => Decision::Remove(RemovalReason::Drained),
        Ok(_) => Decision::Remove(RemovalReason::Deregistered),
        Err(Refusal::Unknown) => Decision::Nothing,
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// Removing `held` by an operator's word.
pub(super) fn remove_by_operator(held: Option<&Instance>, generation: Option<u64>) -> Decision {
    match owned(held, generation) {
        Ok(_) => Decision::Remove(RemovalReason::Removed),
        Err(Refusal::Unknown) => Decision::Nothing,
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// Whether `decision` gives the record of `before` to another process, so far as one can tell.
pub(super) fn takes_over(before: &Instance, decision: &Decision) -> bool {
    let Decision::Put(put) = decision else { return false };
    // Without incarnations, other labels at the same place are the same process.
    put.draws && (put.instance.incarnation > before.incarnation || put.instance.url != before.url)
}

/// `held` if `generation` holds it (`None`: whoever does).
pub(super) fn owned(held: Option<&Instance>, generation: Option<u64>) -> Result<&Instance, Refusal> {
    let held = held.ok_or(Refusal::Unknown)?;
    match generation {
        Some(wanted) if wanted > held.generation => Err(Refusal::Unknown),
        Some(wanted) if wanted < held.generation => Err(Refusal::OldGeneration),
        _ => Ok(held),
    }
}

fn content(wanted: &Registration, by: &str, registered_at_ms: u64) -> Instance {
    // Old clients have no incarnation; one that is sent with their id must not lock them out.
    let incarnation = if wanted.instance_id.is_legacy() { 0 } else { wanted.incarnation };
    Instance {
        service: wanted.service.clone(),
        instance_id: wanted.instance_id.clone(),
        incarnation,
        generation: 0,
        url: wanted.url.clone(),
        health_endpoint: wanted.health_endpoint.clone(),
        metadata: wanted.metadata.clone(),
        zone: wanted.zone.clone().map(Into::into),
        weight: wanted.weight,
        version: wanted.version.clone().map(Into::into),
        status: wanted.status,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s: wanted.ttl_s.unwrap_or(limits::DEFAULT_TTL_S) },
        registered_at_ms,
        registered_by: by.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use vertice_registry_api::{Epoch, HealthPath, InstanceId, Metadata, ServiceName, ServiceUrl};

    use super::*;
    use crate::store::{Registrant, Store, StoreLimits};

    #[derive(Clone, Debug)]
    enum Call {
        Register(Box<Registration>),
        Patch(Option<u64>, Patch),
        Deregister(Option<u64>),
        Beat(Option<u64>),
        /// Its lease ran out and was kept.
        Mark,
    }

    fn status() -> impl Strategy<Value = Status> {
        prop::sample::select(vec![Status::Starting, Status::Up, Status::Draining, Status::Down])
    }

    fn registration() -> impl Strategy<Value = Registration> {
        (any::<bool>(), 0..3_u64, 80..82_u16, status(), prop::option::of(5..7_u32)).prop_map(
            |(legacy, incarnation, port, status, ttl_s)| Registration {
                service: ServiceName::parse("ab").unwrap(),
                instance_id: if legacy { InstanceId::legacy() } else { InstanceId::parse("x").unwrap() },
                incarnation,
                url: ServiceUrl::parse(&format!("http://h:{port}")).unwrap(),
                health_endpoint: HealthPath::default(),
                metadata: Metadata::default(),
                zone: None,
                weight: 100,
                version: None,
                ttl_s,
                status,
            },
        )
    }

    fn call() -> impl Strategy<Value = Call> {
        let patch = (prop::option::of(status()), prop::option::of(0..2_u16), prop::option::of(status()));
        let patch = patch.prop_map(|(status, weight, word)| Patch {
            status,
            weight,
            status_override: word.map(Some),
            deadline_s: None,
        });
        let generation = || prop::option::of(1..12_u64);
        prop_oneof![
            3 => registration().prop_map(|r| Call::Register(Box::new(r))),
            2 => (generation(), patch).prop_map(|(g, p)| Call::Patch(g, p)),
            1 => generation().prop_map(Call::Deregister),
            1 => generation().prop_map(Call::Beat),
            1 => Just(Call::Mark),
        ]
    }

    proptest! {
        /// The same calls lead to the same content in the store and by decisions.
        #[test]
        fn the_rules_are_those_of_the_store(calls in prop::collection::vec(call(), 1..12), legacy in any::<bool>()) {
            let id = if legacy { "@legacy" } else { "x" };
            let mut store = Store::new(StoreLimits::default(), Epoch(1), 1, Duration::ZERO);
            let mut held: Option<Instance> = None;
            let (mut next, mut takeovers) = (1, 0);
            for (call, unix_ms) in calls.into_iter().zip(1..) {
                let decision = match &call {
                    Call::Register(wanted) => {
                        let mut wanted = (**wanted).clone();
                        wanted.instance_id = if legacy { InstanceId::legacy() } else { InstanceId::parse("x").unwrap() };
                        let by = Registrant { name: "me", limited: false };
                        let decision = register(held.as_ref(), &wanted, "me", unix_ms);
                        takeovers += usize::from(matches!(&decision, Decision::Put(put) if put.draws && !put.created));
                        if takeovers > 5 {
                            // The store begins a quarantine, which is not a rule about one record.
                            return Ok(());
                        }
                        let refused = store.register(wanted.clone(), by, Duration::ZERO, unix_ms).err();
                        prop_assert_eq!(refused, refusal(&decision));
                        decision
                    }
                    Call::Patch(generation, change) => {
                        let refused = store.patch("ab", id, *generation, change, Duration::ZERO).err();
                        let decision = patch(held.as_ref(), *generation, change);
                        prop_assert_eq!(refused, refusal(&decision));
                        decision
                    }
                    Call::Deregister(generation) => {
                        let removed = store.deregister("ab", id, *generation, Duration::ZERO);
                        let decision = deregister(held.as_ref(), *generation);
                        prop_assert_eq!(removed.clone().err(), refusal(&decision));
                        prop_assert_eq!(removed == Ok(true), matches!(decision, Decision::Remove(_)));
                        decision
                    }
                    Call::Beat(generation) => {
                        let refused = store.beat("ab", id, *generation, Duration::ZERO).err();
                        let decision = renew(held.as_ref(), *generation);
                        prop_assert_eq!(refused, refusal(&decision));
                        decision
                    }
                    Call::Mark => {
                        held = held.map(|held| Instance { stale: true, ..held });
                        if let Some(stale) = &held {
                            store.follow_upsert(std::sync::Arc::new(stale.clone()), Duration::ZERO);
                        }
                        Decision::Nothing
                    }
                };
                match decision {
                    Decision::Put(put) => {
                        let mut after = put.instance;
                        if put.draws {
                            after.generation = next;
                            next += 1;
                        }
                        held = Some(after);
                    }
                    Decision::Remove(_) => held = None,
                    Decision::Refuse(_) | Decision::Renew { .. } | Decision::Nothing => {}
                }
                prop_assert_eq!(store.get("ab", id).map(|i| (*i).clone()), held.clone());
            }
        }
    }

    fn refusal(decision: &Decision) -> Option<Refusal> {
        match decision {
            Decision::Refuse(refusal) => Some(refusal.clone()),
            Decision::Renew { .. } | Decision::Put(_) | Decision::Remove(_) | Decision::Nothing => None,
        }
    }
}
