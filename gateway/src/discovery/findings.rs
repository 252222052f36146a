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
            if instance.url != endpoint.spec.url {
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
