//! What the registry is told of its own entries: which cannot be used here, and which stale ones are dead. Pure.

use vertice_registry_api::probe::MAX_DEAD;
use vertice_registry_api::reject::{MAX_REJECTS, Reject};
use vertice_registry_client::{Report, SourceKind, View};

use crate::health::verdict::Verdict;
use crate::table::compile::Reject as NotTaken;
use crate::table::{Endpoint, Table};

/// What `table` and the checks of its endpoints show about what `view` has of the registry, and `not_taken`, which never
/// came into it. Nothing is said of what the registry does not name, nor to one that only speaks the old calls.
pub fn report(table: &Table, view: &View, not_taken: &[NotTaken]) -> Report {
    let mut report = Report { epoch: view.position().map(|at| at.epoch), ..Report::default() };
    if view.status().kind != Some(SourceKind::Watched) {
        return Report::default();
    }
    let named = |service, id| {
        let seen = view.service(service)?.instances.get(id)?;
        seen.hold.is_none().then_some(&seen.instance)
    };
    report.rejects.extend(not_taken.iter().filter_map(|entry| {
        Some(Reject {
            service: entry.service.clone(),
            instance_id: entry.instance_id.clone(),
            generation: named(&entry.service, &entry.instance_id)?.generation,
            reason: entry.reason.clone(),
        })
    }));
    for service in table.services.iter() {
        for endpoint in &service.all {
            let Some((unusable, dead)) = found(endpoint) else { continue };
            let Some(instance) = named(&service.name, &endpoint.spec.instance_id) else { continue };
            // A reject whose last good form is in the table.
            if endpoint.spec.url != instance.url {
                continue;
            }
            let (service, instance_id) = (service.name.clone(), instance.instance_id.clone());
            let generation = instance.generation;
            if dead && instance.stale {
                report.dead.push((service, instance_id, generation));
            } else if let Some(reason) = unusable {
                report.rejects.push(Reject { service, instance_id, generation, reason: reason.to_owned() });
            }
        }
    }
    // The same each time, whatever order tables are in: else it would look like a change.
    report.rejects.sort_by(|a, b| (&a.service, &a.instance_id).cmp(&(&b.service, &b.instance_id)));
    report.rejects.truncate(MAX_REJECTS);
    report.dead.sort();
    report.dead.truncate(MAX_DEAD);
    report
}

/// What its checks say of an endpoint: why it cannot be used, and whether nobody is there.
fn found(endpoint: &Endpoint) -> Option<(Option<&'static str>, bool)> {
    let shown = endpoint.health.shown();
    let unusable = match shown.verdict {
        Verdict::Failing(result) => result.unusable(),
        Verdict::Waiting | Verdict::Untested | Verdict::Good | Verdict::Ejected(_) | Verdict::Trial(_) => {
            None
        }
    };
    (unusable.is_some() || shown.dead).then_some((unusable, shown.dead))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use tokio::time::Instant;
    use vertice_registry_api::{
        Epoch, HealthPath, Instance, InstanceId, Lease, Metadata, Position, Revision, ServiceName,
        ServiceUrl, SourceState, Status,
    };
    use vertice_registry_client::{Authority, Event};

    use super::*;
    use crate::discovery::stale::StaleRule;
    use crate::discovery::update;
    use crate::health::verdict::CheckResult;
    use crate::route::Routes;
    use crate::table::compile::{EndpointIds, Fixed, compile, first};
    use crate::upstream::AddressPolicy;

    fn name() -> ServiceName {
        ServiceName::parse("some_service").unwrap()
    }

    fn instance(id: &str, stale: bool) -> Arc<Instance> {
        Arc::new(Instance {
            service: name(),
            instance_id: InstanceId::parse(id).unwrap(),
            incarnation: 1,
            generation: 7,
            url: ServiceUrl::parse(&format!("http://{id}:80")).unwrap(),
            health_endpoint: HealthPath::default(),
            metadata: Metadata::default(),
            zone: None,
            weight: 100,
            version: None,
            status: Status::Up,
            status_override: None,
            stale,
            lease: Lease { ttl_s: 60 },
            registered_at_ms: 0,
            registered_by: "test".into(),
        })
    }

    /// What a registry of this kind said, and the table made of it.
    fn seen(kind: SourceKind, instances: &[Arc<Instance>]) -> (View, Table) {
        let (mut view, now) = (View::new(), Instant::now());
        view.apply(&Event::Identified(kind), now);
        let whole = Event::Replaced {
            instances: instances.to_vec(),
            unread: BTreeSet::new(),
            position: Some(Position { epoch: Epoch(3), revision: Revision(9) }),
            state: SourceState::Serving,
            authority: Authority::Complete,
        };
        view.apply(&whole, now);
        let fixed = Fixed {
            workers: 1,
            configured: BTreeSet::new(),
            policy: AddressPolicy::default(),
            newcomers_wait: true,
            tls: None,
        };
        let update = update::of(&name(), &view, &BTreeMap::new(), &StaleRule::default(), now);
        let start = first(&fixed, |_| Routes::default());
        let (table, _) = compile(&start, vec![update], &fixed, &mut EndpointIds::default());
        (view, table)
    }

    fn endpoint<'t>(table: &'t Table, id: &str) -> &'t Endpoint {
        let all = &table.services.by_name("some_service").unwrap().all;
        all.iter().find(|endpoint| endpoint.spec.instance_id.as_str() == id).unwrap()
    }

    #[test]
    fn what_cannot_be_used_and_what_is_stale_and_dead_is_told_in_its_generation() {
        let all = [
            instance("lost", false),
            instance("gone", true),
            instance("slow", true),
            instance("not-stale", false),
        ];
        for kind in [SourceKind::Watched, SourceKind::Polled] {
            let (view, table) = seen(kind, &all);
            let fails = |result| Verdict::Failing(result);
            endpoint(&table, "lost").health.show(|shown| shown.verdict = fails(CheckResult::Unresolved));
            endpoint(&table, "slow").health.show(|shown| shown.verdict = fails(CheckResult::Late));
            for id in ["gone", "not-stale"] {
                endpoint(&table, id).health.show(|shown| shown.dead = true);
            }
            let not_taken = ["slow", "of-nobody"].map(|id| NotTaken {
                service: name(),
                instance_id: InstanceId::parse(id).unwrap(),
                reason: "no".into(),
            });
            let report = report(&table, &view, &not_taken);
            if kind == SourceKind::Polled {
                assert_eq!(report, Report::default(), "the old calls have no word for it");
                continue;
            }
            assert_eq!(report.epoch, Some(Epoch(3)));
            assert_eq!(report.dead, [(name(), InstanceId::parse("gone").unwrap(), 7)]);
            let told: Vec<_> =
                report.rejects.iter().map(|r| (r.instance_id.as_str(), r.generation)).collect();
            assert_eq!(told, [("lost", 7), ("slow", 7)]);
        }
    }
}
