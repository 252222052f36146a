//! The reference pages that are made from the code: answers of the gateway's own, and metrics.
//!
//! A test fails when a checked-in page is not what these say now.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use vertice_config::Env;
use vertice_config::gateway::{Flags, resolve};
use vertice_registry_api::ServiceUrl;
use vertice_registry_client::View;

use crate::admin::{self, AdminState};
use crate::http::error::GatewayError;
use crate::policy::Refusal;
use crate::reload::state::ConfigState;
use crate::route::path::PathError;
use crate::table::{Published, Table};
use crate::upstream::Failure;

/// `docs/reference/errors.md`
pub fn errors() -> String {
    let mut page = "# Answers that the gateway makes itself\n\n\
        <!-- Made from the code: cargo run -p vertice-gateway --example reference -- errors > docs/reference/errors.md -->\n\n\
        Each is `application/problem+json` (RFC 9457) with `status`, `title`, `detail`, `reason` and `request_id`. The reason is\n\
        also in the header `x-vertice-reason` (`reason_header = false` leaves it out) and in the metric\n\
        `vertice_gateway_own_answers_total`. No answer names an address inside.\n\n\
        A gRPC call is answered 200 with `grpc-status` and the detail in `grpc-message`: 14 (UNAVAILABLE) for 502, 503 and\n\
        `connect_timeout`, 4 (DEADLINE_EXCEEDED) for every other 504, 12 (UNIMPLEMENTED) for 404, 13 (INTERNAL) for 400.\n\n\
        What the HTTP library refuses before a request comes of it (a malformed head: 400; one over `header_bytes` or\n\
        `header_count`: 431) is answered without a body and counted in `vertice_gateway_heads_refused_total`.\n\n\
        | status | reason | detail |\n|---|---|---|\n"
        .to_owned();
    for error in all() {
        let told = error.answer();
        // Writing to a String does not fail.
        let _ = writeln!(page, "| {} | `{}` | {} |", told.status.as_u16(), told.reason, told.detail);
    }
    page
}

/// One of each variant, in the order of a request's way.
fn all() -> Vec<GatewayError> {
    let paths = [
        PathError::NotAbsolute,
        PathError::DotSegment,
        PathError::Backslash,
        PathError::Nul,
        PathError::Percent,
    ];
    let failures = [
        Failure::Resolve,
        Failure::Forbidden,
        Failure::Connect,
        Failure::ConnectTimeout,
        Failure::Certificate,
        Failure::Tls,
        Failure::Closed,
        Failure::FirstByteTimeout,
        Failure::TotalTimeout,
        Failure::BadAnswer,
        Failure::ClientBody,
        Failure::ClientBodyTimeout,
        Failure::BodyTooLarge,
    ];
    // The default of `target_bytes`.
    let limit_bytes = 16 * 1024;
    let too_many = GatewayError::TooManyFields { limit: 100 };
    let mut all = vec![GatewayError::TargetTooLong { limit_bytes }, too_many, GatewayError::Connect];
    all.extend(paths.map(GatewayError::Path));
    all.extend([
        GatewayError::Host("the Host header is missing"),
        GatewayError::Misdirected,
        GatewayError::UnknownHost,
        GatewayError::Expectation,
        GatewayError::WebsocketHandshake("it has no Sec-WebSocket-Version"),
        GatewayError::WebsocketVersion,
        GatewayError::TransferCoding,
        GatewayError::Loop,
        GatewayError::NoRoute,
    ]);
    all.extend(Refusal::all().into_iter().map(GatewayError::Refused));
    all.extend([GatewayError::NoEndpoint, GatewayError::Stale]);
    all.extend(failures.map(GatewayError::Upstream));
    all
}

/// `docs/reference/metrics.md`
pub fn metrics() -> Result<String, String> {
    let mut page = "# Metrics of the gateway\n\n\
        <!-- Made from the code: cargo run -p vertice-gateway --example reference -- metrics > docs/reference/metrics.md -->\n\n\
        `GET /metrics` on the admin listener, in the OpenMetrics text format. Counters end in `_total`.\n\n\
        | name | type | what |\n|---|---|---|\n"
        .to_owned();
    let text = admin::metrics::render(&sample()?);
    let mut help = std::collections::BTreeMap::new();
    for line in text.lines() {
        if let Some((name, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, words.trim_end_matches('.'));
        }
    }
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let _ = writeln!(page, "| `{name}` | {kind} | {} |", help.get(name).copied().unwrap_or_default());
        }
    }
    Ok(page)
}

/// A gateway that has seen nothing yet.
fn sample() -> Result<Arc<AdminState>, String> {
    let config = resolve(None, &Env::default(), &Flags::default()).map_err(|m| format!("{m:?}"))?;
    let (reloads, _) = mpsc::channel(1);
    let (published, _) = Published::new(Table::default(), 1);
    let (releases, _) = mpsc::channel(1);
    Ok(Arc::new(AdminState {
        published,
        view: Arc::new(Mutex::new(View::new())),
        metrics: Vec::new(),
        health: Arc::default(),
        doors: Arc::new([]),
        tls: Arc::default(),
        policies: Arc::default(),
        registry_url: ServiceUrl::parse("http://registry:8888").map_err(|rule| rule.to_string())?,
        releases,
        config: Arc::new(ConfigState::new(Arc::new(config), "nowhere".into())),
        reloads,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_up_to_date() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/");
        for (name, now) in [("errors", errors()), ("metrics", metrics().unwrap())] {
            let checked_in = std::fs::read_to_string(format!("{folder}{name}.md")).unwrap_or_default();
            assert!(
                checked_in == now,
                "docs/reference/{name}.md is stale: cargo run -p vertice-gateway --example reference -- {name} > docs/reference/{name}.md"
            );
        }
    }

    #[test]
    fn every_reason_is_on_the_page() {
        let page = errors();
        for reason in GatewayError::REASONS {
            assert!(page.contains(&format!("| `{reason}` |")), "{reason}");
        }
    }
}
