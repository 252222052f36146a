//! Policies: rules that are defined once, by name, and that routes name. How they work together: `docs/policies.md`.

use super::RouteConfig;
use crate::keys::{Key, names};
use crate::reader::{Reading, Section};

/// What is defined for routes to name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoliciesConfig {
    /// What holds for a route that says nothing else, and for `/v2/{service}/`.
    pub general: RoutePoliciesConfig,
}

/// The policies of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePoliciesConfig {}

/// Keys of `[policies]`; a route has them as well.
pub(in crate::gateway) const KEYS: &[Key] = &[];

/// Everything that routes can name, and what holds for all of them.
pub(in crate::gateway) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> PoliciesConfig {
    let mut policies = PoliciesConfig::default();
    if let Some(section) = root.section(reading, "policies", &names(KEYS)) {
        policies.general = read_route(reading, &section, &policies);
    }
    policies
}

/// What `section`, a route or `[policies]`, says over the general policies.
pub(in crate::gateway) fn read_route(
    _reading: &mut Reading<'_>,
    _section: &Section<'_, '_>,
    defined: &PoliciesConfig,
) -> RoutePoliciesConfig {
    defined.general.clone()
}

/// What is odd but no mistake.
pub(in crate::gateway) fn warnings(_policies: &PoliciesConfig, _routes: &[RouteConfig]) -> Vec<String> {
    Vec::new()
}
