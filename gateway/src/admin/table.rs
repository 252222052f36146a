//! `/table`: routes in their total order, and the services behind them.

use serde_json::{Value, json};
use vertice_config::gateway::{PathPattern, PathRewrite};

use super::{AdminState, rules};
use crate::route::{Action, EditList, OwnAnswer, Route};
use crate::table::Table;

/// The newest table.
pub fn show(state: &AdminState) -> Value {
    let table = state.published.load();
    let mut services: Vec<_> =
        table.services.iter().map(|s| (s.name.as_str(), s.routable.len(), s.all.len())).collect();
    services.sort_unstable();
    json!({
        "generation": table.generation,
        "routes": table.routes.in_order().iter().map(|route| route_json(route, &table)).collect::<Vec<_>>(),
        "services": services
            .iter()
            .map(|(name, routable, all)| json!({"name": name, "endpoints": all, "taking_requests": routable}))
            .collect::<Vec<_>>(),
    })
}

/// One route as an operator wrote it.
pub fn route_json(route: &Route, table: &Table) -> Value {
    let (kind, path) = match &route.path {
        PathPattern::Exact(path) => ("path", path.as_str()),
        PathPattern::Prefix(prefix) => ("prefix", if prefix.is_empty() { "/" } else { prefix.as_str() }),
    };
    let changed = |edits: &EditList| rules::edit_list(edits.as_deref().unwrap_or_default());
    json!({
        "name": route.name,
        "host": route.host.as_ref().map(rules::host),
        kind: path,
        "methods": route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "headers": route
            .headers
            .iter()
            .map(|h| json!({"name": h.name.as_str(), "value": h.value.as_ref().and_then(|v| v.to_str().ok())}))
            .collect::<Vec<_>>(),
        "to": goal(&route.action, table),
        "policies": route.policies.as_ref().map(|policies| policies.shown()),
        "request_headers": changed(&route.edits.request),
        "response_headers": changed(&route.edits.response),
        "built_in": route.built_in,
    })
}

fn goal(action: &Action, table: &Table) -> String {
    match action {
        Action::Own(OwnAnswer::Health) => "the gateway's health".into(),
        Action::Own(OwnAnswer::Status) => "the gateway's status".into(),
        Action::Own(OwnAnswer::HealthCheck) => "a health check of the named service".into(),
        Action::Redirect(to) => format!("a redirect ({}) to {to}", to.status.as_u16()),
        Action::Fixed(answer) => format!("a fixed answer ({})", answer.status.as_u16()),
        Action::ToNamed => "the service that the next segment names".into(),
        Action::ToService { slot, rewrite } => {
            let name = table.services.get(*slot).map_or("?", |service| service.name.as_str());
            match rewrite {
                PathRewrite::Keep => format!("service {name}"),
                PathRewrite::StripPrefix => format!("service {name}, without the prefix"),
                PathRewrite::ReplacePrefix(prefix) => {
                    format!("service {name}, the prefix replaced by {prefix}")
                }
            }
        }
    }
}
