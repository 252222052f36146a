//! Which services nobody has vouched for in too long, by the operator's rule. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use vertice_config::gateway::WhenStale;
use vertice_registry_api::ServiceName;
use vertice_registry_client::{SeenService, View};

use crate::table::Doubt;

/// The rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaleRule {
    /// How long the registry's word counts; `None`: for ever.
    pub after: Option<Duration>,
    /// What happens then.
    pub then: WhenStale,
}

impl StaleRule {
    /// The services that are past it.
    pub fn past(&self, view: &View, now: Instant) -> BTreeSet<ServiceName> {
        if self.after.is_none() {
            return BTreeSet::new();
        }
        view.services()
            .filter(|(_, service)| self.is_past(service, now))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// What is to be doubted about `service`.
    pub fn doubt(&self, service: &SeenService, now: Instant) -> Option<Doubt> {
        if self.is_past(service, now) {
            let refused = self.then == WhenStale::Refuse;
            return Some(Doubt { last_proof: service.last_proof, stale: true, refused });
        }
        let held = service.instances.values().filter_map(|seen| seen.hold);
        let last_proof = held.map(|hold| hold.last_proof).min()?;
        Some(Doubt { last_proof, stale: false, refused: false })
    }

    fn is_past(&self, service: &SeenService, now: Instant) -> bool {
        self.after.is_some_and(|after| now.saturating_duration_since(service.last_proof) >= after)
    }
}
