//! `[rate_limit.NAME]` and `[rate_limit_store]`: how often somebody may ask, and where several gateways count together.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Section, Wrong, kind};
use crate::redis_address::StoreAddress;
use crate::secret::Secret;
use crate::values;

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "requests",
        kind: "integer, 1 to 1000000",
        default: None,
        absent: "a mistake: it must be given",
        example: "100",
        what: "Requests that may come in every `per`.",
        why: "",
    },
    Key {
        name: "per",
        kind: "duration of whole seconds",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"1m\"",
        what: "The time that `requests` are for. They come back one by one, evenly over it.",
        why: "",
    },
    Key {
        name: "burst",
        kind: "integer, 1 to 1000000",
        default: None,
        absent: "as `requests`",
        example: "20",
        what: "Requests that may come at once.",
        why: "With as many as `requests`, who was quiet may use all of them at the beginning of a `per`, as under a fixed window.",
    },
    Key {
        name: "by",
        kind: "\"address\", \"key\", \"route\", { header = NAME }, or a list of these",
        default: Some("\"address\""),
        absent: "",
        example: "[\"route\", \"address\"]",
        what: "Whose requests are counted together: those of a client's address (of IPv6: of one /64), of whoever the route found out \
               to be asking, of a route, with one value of a header field. Several: of those who agree in all of them.",
        why: "Routes that name the same limit share its counts, unless `route` is among them.",
    },
    Key {
        name: "shared",
        kind: "true or false",
        default: Some("false"),
        absent: "",
        example: "true",
        what: "Whether all gateways count together, in the `[rate_limit_store]`.",
        why: "Alone, each gateway counts for itself, in memory.",
    },
];

pub(in crate::gateway) const STORE_KEYS: &[Key] = &[
    Key {
        name: "url",
        kind: "redis://host[:port][/db] or redis+sentinel://host[:port],.../master-name[/db]",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"redis://cache:6379/2\"",
        what: "The Redis or Valkey in which limits with `shared = true` are counted. No request waits for it.",
        why: "",
    },
    Key {
        name: "password_file",
        kind: "path",
        default: None,
        absent: "what `RATE_LIMIT_STORE_PASSWORD` says",
        example: "\"/run/secrets/redis\"",
        what: "A file that holds the password of that Redis.",
        why: "",
    },
];

const REQUESTS: RangeInclusive<usize> = 1..=1_000_000;
/// A key of more parts names nobody.
const PARTS: usize = 4;

/// How often somebody may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Under which name routes have it.
    pub name: String,
    /// So many.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
    /// At once.
    pub burst: u32,
    /// Who is counted together; at least one.
    pub by: Vec<CountedBy>,
    /// With all other gateways.
    pub shared: bool,
}

/// What of a request says with which others it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountedBy {
    /// The client's address.
    Address,
    /// Who asks.
    Key,
    /// Its route.
    Route,
    /// The values of this field.
    Header(HeaderName),
}

impl RateLimitConfig {
    /// Whether it can be judged before it is known who asks.
    pub fn is_early(&self) -> bool {
        let known = |by: &CountedBy| matches!(by, CountedBy::Address | CountedBy::Route);
        self.by.contains(&CountedBy::Address) && self.by.iter().all(known)
    }
}

/// All sections.
pub(super) fn read(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    has_store: bool,
) -> BTreeMap<String, Arc<RateLimitConfig>> {
    let mut all = BTreeMap::new();
    for (name, section) in root.named_sections(reading, "rate_limit", &names(KEYS)) {
        let count = |v: &DeValue<'_>| {
            let n = values::number(v, *REQUESTS.start(), *REQUESTS.end())?;
            Ok(u32::try_from(n).unwrap_or(u32::MAX))
        };
        let requests = section.wanted(reading, "requests", "100", count);
        let per = section.wanted(reading, "per", "\"1m\"", whole_seconds);
        let burst = section.value(reading, "burst", count);
        let by = section.value(reading, "by", counted_by);
        let shared = section.value(reading, "shared", values::boolean);
        if let Some(said) = shared.as_ref().filter(|said| said.value && !has_store) {
            let wrong =
                format!("`{}` is true, and there is no store to share it in", section.path_of("shared"));
            reading.mistake(&said.at, wrong, "add [rate_limit_store] with url = \"redis://host:6379\"");
        }
        let (Some(requests), Some(per)) = (requests, per) else { continue };
        let config = RateLimitConfig {
            name: name.clone(),
            requests: requests.value,
            per: per.value,
            burst: burst.map_or(requests.value, |said| said.value),
            by: by.map_or_else(|| vec![CountedBy::Address], |said| said.value),
            shared: shared.is_some_and(|said| said.value),
        };
        all.insert(name, Arc::new(config));
    }
    all
}

fn whole_seconds(value: &DeValue<'_>) -> Outcome<Duration> {
    let per = values::duration(value)?;
    if per.subsec_nanos() != 0 {
        return Err(Wrong::new(
            format!("is {per:?}"),
            "give whole seconds: clients are told of the limit in seconds; 10 in 500ms are 20 in \"1s\" with burst = 10",
        ));
    }
    Ok(per)
}

fn counted_by(value: &DeValue<'_>) -> Outcome<Vec<CountedBy>> {
    let Some(list) = value.as_array() else { return one_part(value).map(|part| vec![part]) };
    let mut parts = Vec::new();
    for item in list {
        let part = one_part(item.get_ref())?;
        if parts.contains(&part) {
            return Err(Wrong::new("names the same part twice", "name each part once"));
        }
        parts.push(part);
    }
    if parts.is_empty() || parts.len() > PARTS {
        return Err(Wrong::new(
            format!("has {} parts", parts.len()),
            format!("give one to {PARTS}, like [\"route\", \"address\"]"),
        ));
    }
    Ok(parts)
}

fn one_part(value: &DeValue<'_>) -> Outcome<CountedBy> {
    const FORM: &str = "give \"address\", \"key\", \"route\", { header = \"x-tenant\" }, or a list of these";
    if let Some(table) = value.as_table() {
        let name = table.get("header").filter(|_| table.len() == 1).and_then(|name| name.get_ref().as_str());
        let name = name.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        return name.map(CountedBy::Header).ok_or_else(|| Wrong::new("is no header field", FORM));
    }
    match value.as_str() {
        Some("address") => Ok(CountedBy::Address),
        Some("key") => Ok(CountedBy::Key),
        Some("route") => Ok(CountedBy::Route),
        Some(text) => Err(Wrong::new(format!("has {}", shorten(text)), FORM)),
        None => Err(Wrong::new(format!("has {}", kind(value)), FORM)),
    }
}

/// Where limits are shared; the password's file is read only when `password_wanted` (no variable has it).
pub(super) fn read_store(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    password_wanted: bool,
) -> Option<StoreAddress> {
    let section = root.section(reading, "rate_limit_store", &names(STORE_KEYS))?;
    let url = section.wanted(reading, "url", "\"redis://cache:6379\"", |value| {
        let text = values::text(value)?;
        let right = "give \"redis://host:6379\", or \"redis+sentinel://host:26379/master-name\"";
        if text.contains('@') {
            let right =
                "secrets come from `password_file` or from the environment (RATE_LIMIT_STORE_PASSWORD)";
            return Err(Wrong::new("has a password (not shown)", right));
        }
        if !["redis://", "rediss://", "redis+sentinel://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(Wrong::new(format!("is {}", shorten(text)), right));
        }
        StoreAddress::parse(text).map_err(|why| Wrong::new(format!("breaks a rule: {why}"), right))
    });
    let from_file = section.value(reading, "password_file", |value| {
        let path = values::path(value)?;
        if password_wanted { read_password(&path).map(Some) } else { Ok(None) }
    });
    let password = from_file.and_then(|said| said.value);
    // No password stands in the address: there are never two.
    url.and_then(|said| said.value.with_password(password).ok())
}

fn read_password(path: &PathBuf) -> Outcome<Secret> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Wrong::new(
            format!("names {shown}, which cannot be read: {error}"),
            "name a file that this process can read",
        )
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Wrong::new(format!("names {shown}, which is empty"), "put the password into it"));
    }
    Ok(Secret::new(text))
}
