//! From the route that matched to where the request goes, and under which path.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use vertice_config::gateway::{PathRewrite, RedirectPart};

use super::error::GatewayError;
use crate::route::{Action, FixedAnswer, OwnAnswer, Route, legacy_name, path};
use crate::table::{Endpoint, Service, Table};

/// Where a route leads a request.
pub enum Direction<'a> {
    /// To an endpoint of `service`, which sees `target`.
    Service {
        /// Whose.
        service: Arc<Service>,
        /// Path and query.
        target: String,
    },
    /// Nowhere: the gateway answers.
    Own(OwnAnswer),
    /// Nowhere: an operator wrote the answer.
    Fixed(&'a FixedAnswer),
    /// Back to the client, who is to ask here.
    Redirect(StatusCode, String),
}

/// Follows `route`.
pub fn direct<'a>(table: &Table, route: &'a Route, uri: &Uri) -> Result<Direction<'a>, GatewayError> {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    match &route.action {
        Action::Own(what) => Ok(Direction::Own(*what)),
        Action::Fixed(answer) => Ok(Direction::Fixed(answer)),
        Action::Redirect(redirect) => {
            let location = location(&redirect.to, whole, route.matched_bytes());
            Ok(Direction::Redirect(redirect.status, location))
        }
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
                let location = format!("{path}/{query}");
                return Ok(Direction::Redirect(StatusCode::TEMPORARY_REDIRECT, location));
            }
            let name = legacy_name::resolve(name);
            let service = table.services.by_name(&name).ok_or(GatewayError::NoEndpoint)?.clone();
            Ok(Direction::Service { service, target: rest.to_owned() })
        }
    }
}

/// Where a client is sent who asked for `whole`. What it asked for never names the host: the operator wrote it, and a path
/// without one starts with a single slash (browsers take `//name` for a host).
fn location(to: &[RedirectPart], whole: &str, matched_bytes: usize) -> String {
    let (path, _) = whole.split_once('?').unwrap_or((whole, ""));
    let mut location = String::new();
    for part in to {
        location.push_str(match part {
            RedirectPart::Text(text) => text,
            RedirectPart::Path => path,
            RedirectPart::Rest => path.get(matched_bytes..).unwrap_or_default(),
            RedirectPart::Query => whole.get(path.len()..).unwrap_or_default(),
        });
    }
    if location.starts_with("http") { location } else { format!("/{}", location.trim_start_matches('/')) }
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
    fn no_request_chooses_the_host_that_it_is_redirected_to() {
        let text = |text: &str| RedirectPart::Text(text.to_owned());
        let (path, rest, query) = (RedirectPart::Path, RedirectPart::Rest, RedirectPart::Query);
        let elsewhere = [text("https://new.example"), path.clone(), query.clone()];
        let below = [text("/new"), rest.clone(), query.clone()];
        for (to, whole, location) in [
            (&elsewhere[..], "/old/a?x=1&y", "https://new.example/old/a?x=1&y"),
            (&elsewhere, "//evil.example/a", "https://new.example//evil.example/a"),
            (&elsewhere, "/old", "https://new.example/old"),
            (&below, "/old/a%2Fb?x", "/new/a%2Fb?x"),
            (&below, "/old", "/new"),
            (&[path], "//evil.example", "/evil.example"),
            (&[rest], "/old//evil.example", "/evil.example"),
            (&[query], "/old", "/"),
        ] {
            assert_eq!(super::location(to, whole, 4), location, "{whole}");
        }
    }

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
