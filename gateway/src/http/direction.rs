//! From the route that matched to where the request goes, and under which path.

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use vertice_config::gateway::PathRewrite;

use super::error::GatewayError;
use crate::route::{Action, OwnAnswer, Route, legacy_name, path};
use crate::table::{Endpoint, Service, Table};

/// Where a route leads a request.
pub enum Direction {
    /// To an endpoint of `service`, which sees `target`.
    Service {
        /// Whose.
        service: Arc<Service>,
        /// Path and query.
        target: String,
    },
    /// Nowhere: the gateway answers.
    Own(OwnAnswer),
    /// Back to the client, who is to ask here.
    Redirect(String),
}

/// Follows `route`.
pub fn direct(table: &Table, route: &Route, uri: &Uri) -> Result<Direction, GatewayError> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match &route.action {
        Action::Own(what) => Ok(Direction::Own(*what)),
        Action::ToService { slot, rewrite } => {
            let service = table.services.get(*slot).ok_or(GatewayError::NoEndpoint)?.clone();
            let target = rewritten(whole, route.matched_bytes(), rewrite);
            // What is put together from parts that were checked is checked again: it is another path.
            let path = target.split('?').next().unwrap_or_default();
            path::check(path).map_err(GatewayError::Path)?;
            Ok(Direction::Service { service, target })
        }
        Action::ToNamed => {
            let after = whole.get(route.matched_bytes()..).unwrap_or_default();
            let Some(named) = after.strip_prefix('/').filter(|named| !named.is_empty()) else {
                return Err(GatewayError::NoRoute);
            };
            let name_end = named.find(['/', '?']).unwrap_or(named.len());
            let (name, rest) = named.split_at(name_end);
            if !rest.starts_with('/') {
                // `/v2/name`: the original redirects to the form with a slash, and so do we.
                let (path, query) = whole.split_at(route.matched_bytes() + 1 + name_end);
                return Ok(Direction::Redirect(format!("{path}/{query}")));
            }
            let name = legacy_name::resolve(name);
            let service = table.services.by_name(&name).ok_or(GatewayError::NoEndpoint)?.clone();
            Ok(Direction::Service { service, target: rest.to_owned() })
        }
    }
}

/// The target behind a rewrite; the query stays byte for byte.
fn rewritten(whole: &str, matched_bytes: usize, rewrite: &PathRewrite) -> String {
    let rest = || whole.get(matched_bytes..).unwrap_or_default();
    let (before, rest) = match rewrite {
        PathRewrite::Keep => return whole.to_owned(),
        PathRewrite::StripPrefix => ("", rest()),
        PathRewrite::ReplacePrefix(prefix) => (prefix.as_str(), rest()),
    };
    if before.is_empty() && !rest.starts_with('/') { format!("/{rest}") } else { format!("{before}{rest}") }
}

/// The endpoint's base path and the target, in origin form.
pub fn upstream_uri(endpoint: &Endpoint, target: &str) -> Result<Uri, GatewayError> {
    let base = endpoint.spec.url.base();
    let joined = if base.is_empty() {
        Bytes::copy_from_slice(target.as_bytes())
    } else {
        format!("{base}{target}").into()
    };
    let path_and_query = PathAndQuery::from_maybe_shared(joined)
        .map_err(|_| GatewayError::Path(path::PathError::NotAbsolute))?;
    Ok(Uri::from(path_and_query))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_keep_the_query_byte_for_byte() {
        let replace = PathRewrite::ReplacePrefix("/x".into());
        for (whole, matched, rewrite, target) in [
            ("/a/b?q=%2F&q=1", 2, &PathRewrite::Keep, "/a/b?q=%2F&q=1"),
            ("/a/b?q", 2, &PathRewrite::StripPrefix, "/b?q"),
            ("/a", 2, &PathRewrite::StripPrefix, "/"),
            ("/a?q", 2, &PathRewrite::StripPrefix, "/?q"),
            ("/a/", 2, &PathRewrite::StripPrefix, "/"),
            ("/a//b", 2, &PathRewrite::StripPrefix, "//b"),
            ("/a/b", 2, &replace, "/x/b"),
            ("/a?q", 2, &replace, "/x?q"),
            ("/b?q", 0, &replace, "/x/b?q"),
        ] {
            assert_eq!(rewritten(whole, matched, rewrite), target, "{whole}");
        }
    }
}
