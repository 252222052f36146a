//! `auth` of a route: who may ask.

use http::header::HeaderName;
use toml::de::DeValue;

use super::api_keys::scope;
use super::{PoliciesConfig, must_be_known};
use crate::gateway::edits::{Message, name as field_name};
use crate::reader::{Outcome, Reading, Said, Section};
use crate::values;

const KEYS: [&str; 7] = ["api_key", "query_key", "jwt", "forward", "all", "scopes", "tenant"];

/// Segments of a path that a tenant can be in.
const SEGMENTS: usize = 32;

/// Who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Who has an API key.
    pub api_key: bool,
    /// The key may stand in the query.
    pub query_key: bool,
    /// Who has a token of this issuer.
    pub jwt: Option<String>,
    /// Whom this service lets in.
    pub forward: Option<String>,
    /// Every way is needed, not one of them.
    pub all: bool,
    /// Scopes that are all needed.
    pub scopes: Vec<String>,
    /// What the tenant of who asks must be.
    pub tenant: Option<TenantRule>,
}

/// What a tenant must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantRule {
    /// This one.
    Is(String),
    /// The one that this field of the request names.
    Header(HeaderName),
    /// The one that this segment of the path names; the first is 1.
    Segment(usize),
}

/// What `section` says, over what is general.
pub(super) fn read(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    defined: &PoliciesConfig,
) -> Option<AuthConfig> {
    if section.is_text("auth", "none") {
        return None;
    }
    let Some(table) = section.section(reading, "auth", &KEYS) else { return defined.general.auth.clone() };
    let flag = |reading: &mut Reading<'_>, key| {
        table.value(reading, key, values::boolean).is_some_and(|said| said.value)
    };
    let (api_key, query_key, all) =
        (flag(reading, "api_key"), flag(reading, "query_key"), flag(reading, "all"));
    let issuers: Vec<&str> = defined.jwt.iter().map(|jwt| jwt.name.as_str()).collect();
    let jwt = name(reading, &table, "jwt", &issuers, "jwt");
    let services: Vec<&str> = defined.forward_auth.iter().map(|forward| forward.name.as_str()).collect();
    let forward = name(reading, &table, "forward", &services, "forward_auth");
    let scopes = table.list(reading, "scopes", "[\"osint\"]", scope);
    let tenant = read_tenant(reading, &table);
    let ways = usize::from(api_key)
        + usize::from(table.place_of("jwt").is_some())
        + usize::from(table.place_of("forward").is_some());
    if ways == 0 {
        let wrong = format!("`{}` says nobody who may ask", table.path());
        let right =
            "write api_key = true, jwt = \"...\" or forward = \"...\"; for everybody, auth = \"none\"";
        reading.missing(&table.at, wrong, right);
    }
    if let Some(at) = table.place_of("query_key").filter(|_| query_key && !api_key) {
        let wrong = format!("`{}` is true without `api_key`", table.path_of("query_key"));
        reading.mistake(&at, wrong, "write api_key = true as well");
    }
    if let Some(at) = table.place_of("all").filter(|_| all && ways == 1) {
        let wrong = format!("`{}` is true with one way only", table.path_of("all"));
        reading.mistake(
            &at,
            wrong,
            "name a second one of `api_key`, `jwt` and `forward`, or leave `all` out",
        );
    }
    let needs_who = table.place_of("scopes").or_else(|| table.place_of("tenant"));
    if let Some(at) = needs_who.filter(|_| !api_key && jwt.is_none() && forward.is_some()) {
        let wrong = format!("`{}` lets a service decide, which tells no scopes and no tenant", table.path());
        reading.mistake(&at, wrong, "let the service judge them, or add `api_key` or `jwt` with all = true");
    }
    Some(AuthConfig {
        api_key,
        query_key,
        jwt,
        forward,
        all,
        scopes: scopes.map_or_else(Vec::new, |said| said.value.into_iter().map(|s| s.value).collect()),
        tenant,
    })
}

fn name(
    reading: &mut Reading<'_>,
    table: &Section<'_, '_>,
    key: &str,
    known: &[&str],
    kind: &str,
) -> Option<String> {
    let said: Said<String> = table.value(reading, key, |value| values::text(value).map(str::to_owned))?;
    must_be_known(reading, &table.path_of(key), &said, known, kind).then_some(said.value)
}

fn read_tenant(reading: &mut Reading<'_>, table: &Section<'_, '_>) -> Option<TenantRule> {
    if !table.is_table("tenant") {
        let said = table.value(reading, "tenant", |value| values::text(value).map(str::to_owned))?;
        return Some(TenantRule::Is(said.value));
    }
    let rule = table.section(reading, "tenant", &["header", "segment"])?;
    let header = rule.value(reading, "header", header);
    let segment = rule.value(reading, "segment", |value| values::number(value, 1, SEGMENTS));
    let right = "write tenant = { header = \"x-tenant\" } or tenant = { segment = 4 }";
    match (header, segment) {
        (Some(header), None) => Some(TenantRule::Header(header.value)),
        (None, Some(segment)) => Some(TenantRule::Segment(segment.value)),
        (Some(_), Some(segment)) => {
            let wrong = format!("`{}` has a header and a segment", rule.path());
            reading.mistake(&segment.at, wrong, right);
            None
        }
        (None, None) => {
            if rule.place_of("header").or_else(|| rule.place_of("segment")).is_none() {
                reading.missing(&rule.at, format!("`{}` is empty", rule.path()), right);
            }
            None
        }
    }
}

fn header(value: &DeValue<'_>) -> Outcome<HeaderName> {
    field_name(values::text(value)?, Message::Request)
}
