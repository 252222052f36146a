//! Policies, as `/config` shows them. Each type is taken apart, so that a new setting cannot be forgotten; secrets are left out.

use serde_json::{Value, json};
use vertice_config::gateway::policy::{PoliciesConfig, RoutePoliciesConfig};

/// What is defined.
pub fn all(policies: &PoliciesConfig) -> Value {
    let PoliciesConfig { general } = policies;
    json!({"general": route(general)})
}

/// What a route has.
pub fn route(policies: &RoutePoliciesConfig) -> Value {
    let RoutePoliciesConfig {} = policies;
    json!({})
}
