//! The next table from the last one and what changed. Pure: no I/O, no clock, no randomness.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use vertice_registry_api::{Host, InstanceId, Scheme, ServiceName};

use super::Table;
use super::endpoint::{Endpoint, EndpointId, EndpointSpec, Origin};
use super::endpoint_url::EndpointUrl;
use super::service::{Doubt, Service, ServiceStats};
use crate::health::EndpointHealth;
use crate::route::Routes;
use crate::upstream::{AddressPolicy, EndpointTls, UpstreamTls};

/// All that is known of one service now.
#[derive(Clone, Debug)]
pub struct ServiceUpdate {
    /// Which.
    pub name: ServiceName,
    /// Every instance of it; empty: none is known.
    pub endpoints: Vec<EndpointSpec>,
    /// What is to be doubted about them.
    pub doubt: Option<Doubt>,
}

/// An entry that was not taken. Its last good form, if there was one, stays in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Whose instance.
    pub service: ServiceName,
    /// Which.
    pub instance_id: InstanceId,
    /// Why, for a person.
    pub reason: String,
}

/// Gives endpoints their ids: indices are used again, serials never.
#[derive(Debug, Default)]
pub struct EndpointIds {
    free: BTreeSet<usize>,
    end: usize,
    serial: u64,
}

impl EndpointIds {
    fn take(&mut self) -> EndpointId {
        let index = self.free.pop_first().unwrap_or_else(|| {
            self.end += 1;
            self.end - 1
        });
        self.serial += 1;
        EndpointId { index, serial: self.serial }
    }
}

/// What does not change from table to table.
#[derive(Debug)]
pub struct Fixed {
    /// Worker threads, for the rows of the counters.
    pub workers: usize,
    /// Services that the configuration names: they stay known when no instance is left (503, never 404).
    pub configured: BTreeSet<ServiceName>,
    /// Literal addresses that no registrant may send us to.
    pub policy: AddressPolicy,
    /// Whether an endpoint that comes to others gets no request before its first check: somebody must be checking.
    pub newcomers_wait: bool,
    /// How `https` URLs are connected to; `None`: not at all.
    pub tls: Option<UpstreamTls>,
}

/// A table with routes and the services that the configuration names, all without endpoints yet.
///
/// `routes` is asked for once, with the slot of each configured service.
pub fn first(fixed: &Fixed, routes: impl FnOnce(&super::Services) -> Routes) -> Table {
    let mut services = super::Services::default();
    for name in &fixed.configured {
        services.put(Arc::new(build(
            name.clone(),
            Vec::new(),
            None,
            Arc::new(ServiceStats::new(fixed.workers)),
        )));
    }
    let routes = Arc::new(routes(&services));
    Table { generation: 0, routes, services }
}

/// The table after `previous` under another configuration: `routes` is asked with the slot of each service that `fixed`
/// names. Services that it no longer names go with the next update that finds them empty.
pub fn reroute(previous: &Table, fixed: &Fixed, routes: impl FnOnce(&super::Services) -> Routes) -> Table {
    let mut services = previous.services.clone();
    for name in &fixed.configured {
        if services.slot(name.as_str()).is_none() {
            let stats = Arc::new(ServiceStats::new(fixed.workers));
            services.put(Arc::new(build(name.clone(), Vec::new(), None, stats)));
        }
    }
    let routes = Arc::new(routes(&services));
    Table { generation: previous.generation + 1, routes, services }
}

/// The table after `previous` with `updates` applied, and the entries that were not taken.
///
/// An endpoint keeps its id while service, instance and address stay the same. Services that are not named in
/// `updates` are shared with `previous`, not rebuilt.
pub fn compile(
    previous: &Table,
    updates: Vec<ServiceUpdate>,
    fixed: &Fixed,
    ids: &mut EndpointIds,
) -> (Table, Vec<Reject>) {
    let mut rejects = Vec::new();
    let mut services = previous.services.clone();
    for update in updates {
        let before = services.by_name(update.name.as_str()).cloned();
        let mut last: BTreeMap<InstanceId, Arc<Endpoint>> = before
            .iter()
            .flat_map(|service| &service.all)
            .map(|endpoint| (endpoint.spec.instance_id.clone(), endpoint.clone()))
            .collect();
        let waits =
            fixed.newcomers_wait && before.as_ref().is_some_and(|service| !service.routable.is_empty());
        let mut all = Vec::with_capacity(update.endpoints.len());
        for spec in update.endpoints {
            let known = last.remove(&spec.instance_id);
            match judge(&update.name, &spec, fixed) {
                Ok(tls) => all.push(carry_over(known, spec, tls, waits, ids)),
                Err(reason) => {
                    rejects.push(Reject {
                        service: update.name.clone(),
                        instance_id: spec.instance_id,
                        reason,
                    });
                    all.extend(known);
                }
            }
        }
        ids.free.extend(last.values().map(|endpoint| endpoint.id.index));
        if all.is_empty() && !fixed.configured.contains(&update.name) {
            services.drop_name(&update.name);
        } else {
            let stats =
                before.map_or_else(|| Arc::new(ServiceStats::new(fixed.workers)), |s| s.stats.clone());
            services.put(Arc::new(build(update.name, all, update.doubt, stats)));
        }
    }
    (Table { generation: previous.generation + 1, routes: previous.routes.clone(), services }, rejects)
}

/// What speaks against `spec`, or how its TLS connections are made.
fn judge(service: &ServiceName, spec: &EndpointSpec, fixed: &Fixed) -> Result<Option<EndpointTls>, String> {
    // A socket of this machine is an operator's word.
    let EndpointUrl::Http(url) = &spec.url else { return Ok(None) };
    let tls = match (url.scheme(), &fixed.tls) {
        (Scheme::Http, _) => None,
        (Scheme::Https, Some(tls)) => Some(tls.endpoint(service, url)?),
        (Scheme::Https, None) => return Err(format!("{url}: https to services is switched off")),
    };
    let address = match url.host() {
        Host::Ip(ip) if spec.origin != Origin::Operator => SocketAddr::new(*ip, url.port()),
        Host::Ip(_) | Host::Name(_) => return Ok(tls),
    };
    fixed.policy.refuses(address).map_or(Ok(tls), |reason| Err(format!("{url}: {reason}")))
}

fn carry_over(
    known: Option<Arc<Endpoint>>,
    spec: EndpointSpec,
    tls: Option<EndpointTls>,
    waits: bool,
    ids: &mut EndpointIds,
) -> Arc<Endpoint> {
    let new = |ids: &mut EndpointIds, spec, tls| {
        let health = Arc::new(EndpointHealth::new(waits));
        Arc::new(Endpoint { id: ids.take(), spec, tls, health })
    };
    // Connections that were made by other rules of TLS are not used by the new ones.
    let same_tls = |endpoint: &Endpoint| match (&endpoint.tls, &tls) {
        (None, None) => true,
        (Some(before), Some(now)) => before.same(now),
        (None, Some(_)) | (Some(_), None) => false,
    };
    match known {
        Some(endpoint) if endpoint.spec == spec && same_tls(&endpoint) => endpoint,
        Some(endpoint) if endpoint.spec.url == spec.url && same_tls(&endpoint) => {
            Arc::new(Endpoint { id: endpoint.id, spec, tls, health: endpoint.health.clone() })
        }
        Some(endpoint) => {
            ids.free.insert(endpoint.id.index);
            new(ids, spec, tls)
        }
        None => new(ids, spec, tls),
    }
}

fn build(
    name: ServiceName,
    mut all: Vec<Arc<Endpoint>>,
    doubt: Option<Doubt>,
    stats: Arc<ServiceStats>,
) -> Service {
    all.sort_by_key(|endpoint| endpoint.id.index);
    // Weight 0 means "only if nobody else is there".
    let refused = doubt.is_some_and(|doubt| doubt.refused);
    let up = || all.iter().filter(|endpoint| endpoint.takes_requests() && !refused);
    let mut routable: Vec<_> = up().filter(|endpoint| endpoint.spec.weight > 0).cloned().collect();
    if routable.is_empty() {
        routable = up().cloned().collect();
    }
    let same = routable.windows(2).all(|pair| matches!(pair, [a, b] if a.spec.weight == b.spec.weight));
    let weight_sums = if same {
        Vec::new()
    } else {
        let mut sum = 0_u32;
        routable
            .iter()
            .map(|endpoint| {
                sum += u32::from(endpoint.spec.weight);
                sum
            })
            .collect()
    };
    Service { name, all, routable, weight_sums, doubt, stats }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vertice_registry_api::{HealthPath, ServiceUrl, Status};

    use super::*;
    use crate::table::{CheckKind, Origin, Protocol};

    fn spec(id: usize, port: u16, weight: u16) -> EndpointSpec {
        EndpointSpec {
            instance_id: InstanceId::parse(&format!("i{id}")).unwrap(),
            url: ServiceUrl::parse(&format!("http://10.0.0.1:{port}")).unwrap().into(),
            health: HealthPath::default(),
            check: CheckKind::Http,
            protocol: Protocol::Http1,
            weight,
            status: Status::Up,
            version: None,
            held: None,
            origin: Origin::Operator,
        }
    }

    fn name(n: usize) -> ServiceName {
        ServiceName::parse(&format!("service{n}")).unwrap()
    }

    fn fixed() -> Fixed {
        Fixed {
            workers: 1,
            configured: BTreeSet::new(),
            policy: AddressPolicy::default(),
            newcomers_wait: true,
            tls: None,
        }
    }

    fn ids_of(table: &Table) -> Vec<(ServiceName, InstanceId, EndpointId, EndpointUrl)> {
        let of = |s: &Arc<Service>| {
            let row =
                |e: &Arc<Endpoint>| (s.name.clone(), e.spec.instance_id.clone(), e.id, e.spec.url.clone());
            s.all.iter().map(row).collect::<Vec<_>>()
        };
        let mut rows: Vec<_> = table.services.iter().flat_map(of).collect();
        rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        rows
    }

    /// (service, [(instance, port, weight)])
    type Step = Vec<(usize, Vec<(usize, u16, u16)>)>;

    fn run(steps: &[Step]) -> Vec<Table> {
        let mut ids = EndpointIds::default();
        let mut tables = vec![first(&fixed(), |_| Routes::default())];
        for step in steps {
            // One update per service, as discovery makes them.
            let mut named = BTreeSet::new();
            let updates = step
                .iter()
                .filter(|(service, _)| named.insert(*service))
                .map(|(service, endpoints)| {
                    let mut known = BTreeSet::new();
                    let specs =
                        endpoints.iter().filter(|e| known.insert(e.0)).map(|(i, p, w)| spec(*i, *p, *w));
                    ServiceUpdate { name: name(*service), endpoints: specs.collect(), doubt: None }
                })
                .collect();
            let (table, rejects) = compile(tables.last().unwrap(), updates, &fixed(), &mut ids);
            assert!(rejects.is_empty());
            tables.push(table);
        }
        tables
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let endpoints = prop::collection::vec((0..4_usize, 1..4_u16, 0..3_u16), 0..4);
        prop::collection::vec(prop::collection::vec((0..4_usize, endpoints), 0..4), 0..8)
    }

    proptest! {
        #[test]
        fn ids_are_unique_kept_while_the_address_stays_and_never_come_back(steps in steps()) {
            let tables = run(&steps);
            let mut address_of_serial = BTreeMap::new();
            for pair in tables.windows(2) {
                let (before, after) = (ids_of(&pair[0]), ids_of(&pair[1]));
                let indices: BTreeSet<_> = after.iter().map(|row| row.2.index).collect();
                prop_assert_eq!(indices.len(), after.len(), "two endpoints share an index");
                for row in &after {
                    let identity = (row.0.clone(), row.1.clone(), row.3.clone());
                    let first = address_of_serial.entry(row.2.serial).or_insert_with(|| identity.clone());
                    prop_assert_eq!(&*first, &identity, "a serial came back for another endpoint");
                    if let Some(old) = before.iter().find(|b| (&b.0, &b.1, &b.3) == (&row.0, &row.1, &row.3)) {
                        prop_assert_eq!(old.2, row.2, "an endpoint that stayed got another id");
                    }
                }
            }
        }

        #[test]
        fn compile_is_deterministic(steps in steps()) {
            let (a, b) = (run(&steps), run(&steps));
            for (a, b) in a.iter().zip(&b) {
                prop_assert_eq!(ids_of(a), ids_of(b));
            }
        }
    }

    #[test]
    fn a_rejected_entry_keeps_its_last_good_form_and_the_others_go_on() {
        let tables = run(&[vec![(0, vec![(0, 1, 1), (1, 2, 1)])]]);
        let bad =
            EndpointSpec { url: ServiceUrl::parse("https://10.0.0.1:9").unwrap().into(), ..spec(0, 1, 1) };
        let update = ServiceUpdate { name: name(0), endpoints: vec![bad, spec(1, 3, 1)], doubt: None };
        let mut ids = EndpointIds { end: 2, serial: 2, ..EndpointIds::default() };
        let (table, rejects) = compile(&tables[1], vec![update], &fixed(), &mut ids);
        assert_eq!(rejects.len(), 1);
        let ports: Vec<_> = ids_of(&table).iter().map(|row| row.3.to_string()).collect();
        assert_eq!(ports, ["http://10.0.0.1:1", "http://10.0.0.1:3"]);
    }

    #[test]
    fn health_stays_with_the_address_and_only_who_comes_to_others_waits() {
        let tables = run(&[
            vec![(0, vec![(0, 1, 1)])],
            vec![(0, vec![(0, 1, 2), (1, 2, 1)])],
            vec![(0, vec![(0, 3, 2), (1, 2, 1)])],
        ]);
        let of = |table: &Table, n: usize| {
            let service = table.services.by_name("service0").unwrap();
            let id = InstanceId::parse(&format!("i{n}")).unwrap();
            service.all.iter().find(|e| e.spec.instance_id == id).unwrap().health.clone()
        };
        assert!(!of(&tables[1], 0).share().is_out(), "the first of its service");
        assert!(of(&tables[2], 1).share().is_out(), "the second");
        assert!(Arc::ptr_eq(&of(&tables[1], 0), &of(&tables[2], 0)), "another weight is the same endpoint");
        assert!(!Arc::ptr_eq(&of(&tables[2], 0), &of(&tables[3], 0)), "another address is not");
        assert!(Arc::ptr_eq(&of(&tables[2], 1), &of(&tables[3], 1)));
    }

    #[test]
    fn another_configuration_keeps_endpoints_and_drops_what_nobody_names_any_more() {
        let before = Fixed { configured: BTreeSet::from([name(0), name(1)]), ..fixed() };
        let after = Fixed { configured: BTreeSet::from([name(1), name(2)]), ..fixed() };
        let mut ids = EndpointIds::default();
        let update = |n, endpoints| ServiceUpdate { name: name(n), endpoints, doubt: None };
        let start = first(&before, |_| Routes::default());
        let (table, _) = compile(&start, vec![update(1, vec![spec(0, 1, 1)])], &before, &mut ids);
        let mut asked = Vec::new();
        let rerouted = reroute(&table, &after, |services| {
            asked = (0..3).map(|n| services.slot(name(n).as_str())).collect();
            Routes::default()
        });
        assert!(
            asked.iter().all(Option::is_some),
            "every service that a route may name has a slot: {asked:?}"
        );
        let updates = vec![update(0, vec![]), update(1, vec![spec(0, 1, 1)]), update(2, vec![])];
        let (now, _) = compile(&rerouted, updates, &after, &mut ids);
        assert!(now.services.by_name("service0").is_none());
        assert!(now.services.by_name("service2").is_some());
        assert_eq!(ids_of(&now), ids_of(&table));
        assert!(now.generation > table.generation);
    }

    #[test]
    fn a_configured_service_stays_known_without_instances_and_another_does_not() {
        let fixed = Fixed { configured: BTreeSet::from([name(0)]), ..fixed() };
        let mut ids = EndpointIds::default();
        let start = first(&fixed, |_| Routes::default());
        let with = |endpoints: Vec<EndpointSpec>| {
            let update = |n| ServiceUpdate { name: name(n), endpoints: endpoints.clone(), doubt: None };
            (0..2).map(update).collect::<Vec<_>>()
        };
        let (full, _) = compile(&start, with(vec![spec(0, 1, 1)]), &fixed, &mut ids);
        let (empty, _) = compile(&full, with(vec![]), &fixed, &mut ids);
        assert!(empty.services.by_name("service0").is_some_and(|s| s.routable.is_empty()));
        assert!(empty.services.by_name("service1").is_none());
    }
}
