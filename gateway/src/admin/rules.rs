//! What listeners and routes do, as `/config`, `/table` and `/explain` show it. Values of header fields may be secrets: names only.

use serde_json::{Value, json};
use vertice_config::gateway::{
    AnswerConfig, HeaderEdit, HeaderEdits, HostPattern, HttpsRedirectConfig, ListenerRules, PathRewrite,
    RouteAction,
};

/// What holds at a listener.
pub fn listener(rules: &ListenerRules) -> Value {
    let ListenerRules { https_redirect, hsts, limits, timeouts, ip } = rules;
    json!({
        "https_redirect": https_redirect.as_ref().map(|HttpsRedirectConfig { hosts, port }| json!({
            "hosts": hosts.iter().map(host).collect::<Vec<_>>(),
            "port": port,
        })),
        "hsts": hsts.as_ref().and_then(|value| value.to_str().ok()),
        "limits": super::limits::clients(limits),
        "timeouts": super::limits::timeouts(timeouts),
        "ip": ip.as_ref().map(|config| &config.name),
    })
}

/// A pattern of hosts as it is written.
pub fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(domain) => format!("*.{domain}"),
    }
}

/// What a route does.
pub fn action(action: &RouteAction) -> Value {
    match action {
        RouteAction::Service { service, rewrite } => json!({
            "service": service.as_str(),
            "rewrite": match rewrite {
                PathRewrite::Keep => json!("keep"),
                PathRewrite::StripPrefix => json!("strip_prefix"),
                PathRewrite::ReplacePrefix(prefix) => json!({"replace_prefix": prefix}),
            },
        }),
        RouteAction::Redirect(to) => {
            json!({"redirect": {"to": to.to_string(), "status": to.status.as_u16()}})
        }
        RouteAction::Answer(AnswerConfig { status, body, headers }) => json!({"answer": {
            "status": status.as_u16(),
            "body_bytes": body.len(),
            "headers": headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        }}),
    }
}

/// Which header fields are changed.
pub fn edits(edits: &HeaderEdits) -> Value {
    let HeaderEdits { request, response } = edits;
    json!({"request": edit_list(request), "response": edit_list(response)})
}

/// In their order.
pub fn edit_list(edits: &[HeaderEdit]) -> Vec<String> {
    let shown = |edit: &HeaderEdit| match edit {
        HeaderEdit::Remove(name) => format!("remove {name}"),
        HeaderEdit::Set(name, _) => format!("set {name}"),
        HeaderEdit::Add(name, _) => format!("add {name}"),
    };
    edits.iter().map(shown).collect()
}
