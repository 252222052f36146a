//! `/explain?method=GET&target=http://host/path&header=k:v`: where a request would go, and why not elsewhere.

use std::sync::PoisonError;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::services::service_json;
use super::table::route_json;
use super::{AdminState, limits};
use crate::discovery::update::age_seconds;
use crate::route::explain::explain;
use crate::route::{Action, RequestView, host, legacy_name, path};

/// The request that is asked about.
struct Asked {
    method: Method,
    target: Uri,
    headers: HeaderMap,
}

/// The explanation, or what is wrong with the question.
pub fn answer(state: &AdminState, query: &str) -> Result<Value, String> {
    let asked = parse(query)?;
    let authority = asked.target.authority().map_or("", http::uri::Authority::as_str);
    let host = host::normal(authority).ok_or("target: an absolute URL is wanted, as http://host/path")?;
    if let Err(error) = path::check(asked.target.path()) {
        return Ok(json!({"answer": {"status": 400, "detail": error.to_string()}, "tried": []}));
    }
    let table = state.published.load();
    let request = RequestView {
        host: &host,
        path: asked.target.path(),
        method: &asked.method,
        headers: &asked.headers,
    };
    let tried = explain(&table.routes, &request);
    let matched = tried.iter().find(|tried| tried.mismatch.is_none()).map(|tried| tried.route);
    let service = matched.and_then(|route| match &route.action {
        Action::ToService { slot, .. } => table.services.get(*slot).map(|s| s.name.to_string()),
        Action::ToNamed => {
            let rest = asked.target.path().get(route.matched_bytes() + 1..)?;
            Some(legacy_name::resolve(rest.split('/').next()?).into_owned())
        }
        Action::Own(_) | Action::Redirect(_) | Action::Fixed(_) => None,
    });
    let known = service.as_deref().and_then(|name| table.services.by_name(name));
    let view = state.view.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(json!({
        "generation": table.generation,
        "tried": tried
            .iter()
            .map(|tried| json!({
                "route": tried.route.name,
                "matched": tried.mismatch.is_none(),
                "why_not": tried.mismatch.as_ref().map(ToString::to_string),
            }))
            .collect::<Vec<_>>(),
        "route": matched.map(|route| route_json(route, &table)),
        "limits": matched.map(|route| {
            let config = state.config.config();
            config.listeners.iter().map(|listener| limits::effective(route, listener)).collect::<Vec<_>>()
        }),
        "service_name": service,
        "service": known.map(|service| service_json(service, age_seconds(&service.name, &view))),
        "answer": match (matched, &service, known) {
            (None, ..) => json!({"status": 404, "detail": "no route matches"}),
            (Some(_), Some(_), None) => json!({"status": 503, "detail": "the service is not known"}),
            (Some(_), Some(_), Some(known)) if known.routable.is_empty() => {
                json!({"status": 503, "detail": "no instance takes requests"})
            }
            _ => Value::Null,
        },
    }))
}

fn parse(query: &str) -> Result<Asked, String> {
    let (mut method, mut target, mut headers) = (Method::GET, None, HeaderMap::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| format!("{key}: not UTF-8"))?;
        match key {
            "method" => method = value.parse().map_err(|_| format!("method: {value:?} is no method"))?,
            "target" => target = Some(value.parse::<Uri>().map_err(|e| format!("target: {value:?}: {e}"))?),
            "header" => {
                let (name, text) = value.split_once(':').ok_or("header: 'name: value' is wanted")?;
                let name =
                    HeaderName::try_from(name.trim()).map_err(|_| format!("header: {name:?} is no name"))?;
                let text =
                    HeaderValue::try_from(text.trim()).map_err(|_| format!("header: value of {name}"))?;
                headers.append(name, text);
            }
            other => return Err(format!("unknown parameter {other:?}: method, target and header are known")),
        }
    }
    let target = target.ok_or("target is missing: ?method=GET&target=http://host/path")?;
    Ok(Asked { method, target, headers })
}
