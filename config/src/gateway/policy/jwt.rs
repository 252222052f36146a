//! `[jwt.NAME]`: issuers of tokens, and what of a token counts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::HeaderName;
use toml::de::DeValue;
use vertice_registry_api::ServiceUrl;
use vertice_registry_api::name::shorten;

use crate::env::Env;
use crate::gateway::edits::{Message, name as field_name};
use crate::keys::{Key, names};
use crate::place::Placed;
use crate::reader::{Outcome, Reading, Said, Section, Wrong, understand};
use crate::secret::Secret;
use crate::{suggest, values};

/// How long tokens are believed beyond their end: clocks of machines differ, by seconds.
const LEEWAY: Duration = Duration::from_secs(30);
/// More leeway than this is a longer life in disguise.
const MOST_LEEWAY: Duration = Duration::from_mins(10);
/// Issuers announce new keys hours ahead.
const REFRESH: Duration = Duration::from_mins(5);
/// Long enough to repair an issuer, short enough that a withdrawn key is one.
const MAX_STALE: Duration = Duration::from_hours(1);
/// RFC 7518 3.2: a key of at least the hash's size.
const SECRET_BYTES: usize = 32;

/// A signature algorithm (RFC 7518, RFC 8037). There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As tokens and the configuration write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether who can verify can sign, too.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// Shared with the issuer.
    Secret(Secret),
    /// A JWK set (RFC 7517) on disk, read again every `refresh`.
    File(Placed<PathBuf>),
    /// A JWK set that the issuer publishes.
    Url(ServiceUrl),
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// How routes name it.
    pub name: String,
    /// Its keys.
    pub keys: JwtKeys,
    /// What tokens may be signed with; at least one, all with the same kind of key.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must name one of these; empty: a token that is for somebody is not for us.
    pub audience: Vec<String>,
    /// For clocks that differ.
    pub leeway: Duration,
    /// Claims that hold scopes, as lists or as words.
    pub scopes_claims: Vec<String>,
    /// The claim that holds the tenant.
    pub tenant_claim: String,
    /// Fields that tell the service what a claim says.
    pub claim_headers: Vec<(HeaderName, String)>,
    /// Between two readings of the key set.
    pub refresh: Duration,
    /// How long keys count that could not be read again.
    pub max_stale: Duration,
}

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "secret_env",
        kind: "variable",
        default: None,
        absent: "one of the four must be given",
        example: "\"JWT_SECRET_KEY\"",
        what: "The environment variable with the secret that the issuer signs with (HS256, HS384, HS512).",
        why: "",
    },
    Key {
        name: "secret_file",
        kind: "path",
        default: None,
        absent: "one of the four must be given",
        example: "\"/run/secrets/jwt\"",
        what: "The same in a file (a line end is cut); a reload reads it again.",
        why: "",
    },
    Key {
        name: "jwks_file",
        kind: "path",
        default: None,
        absent: "one of the four must be given",
        example: "\"/etc/vertice/jwks.json\"",
        what: "A file with the issuer's public keys as a JWK set.",
        why: "",
    },
    Key {
        name: "jwks_url",
        kind: "URL",
        default: None,
        absent: "one of the four must be given",
        example: "\"https://id.example.com/.well-known/jwks.json\"",
        what: "Where the issuer publishes it. Read in the background, never for a request; `https` as `[upstream_tls]` says.",
        why: "",
    },
    Key {
        name: "algorithms",
        kind: "list of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        default: None,
        absent: "a mistake: it must be given",
        example: "[\"HS256\"]",
        what: "What tokens may be signed with. HS with a secret, all others with a key set.",
        why: "A token's own word about it is no more than a claim.",
    },
    Key {
        name: "issuer",
        kind: "text",
        default: None,
        absent: "any, or none",
        example: "\"https://id.example.com\"",
        what: "The claim `iss` must be this.",
        why: "",
    },
    Key {
        name: "audience",
        kind: "text or list of texts",
        default: None,
        absent: "tokens must have no `aud`",
        example: "[\"vertice\"]",
        what: "The claim `aud` must have one of these.",
        why: "A token for another audience is not for us (RFC 7519, section 4.1.3).",
    },
    Key {
        name: "leeway",
        kind: "duration, up to 10m",
        default: Some("\"30s\""),
        absent: "",
        example: "\"5s\"",
        what: "How far clocks may differ, for `exp`, `nbf` and `iat`. A token without `exp` is refused.",
        why: "",
    },
    Key {
        name: "scopes_claims",
        kind: "list of texts",
        default: Some("[\"scopes\", \"permissions\"]"),
        absent: "",
        example: "[\"scope\"]",
        what: "Claims that hold scopes: a list of texts, or a text of words.",
        why: "The two names that the original gateways use.",
    },
    Key {
        name: "tenant_claim",
        kind: "text",
        default: Some("\"tenant_id\""),
        absent: "",
        example: "\"org\"",
        what: "The claim that holds the tenant.",
        why: "",
    },
    Key {
        name: "claim_headers",
        kind: "table of texts",
        default: None,
        absent: "no field is set",
        example: "{ x-user-id = \"sub\", x-tenant = \"tenant_id\" }",
        what: "Header fields that tell the service what a claim says. On every route, they are taken out of what clients send.",
        why: "",
    },
    Key {
        name: "refresh",
        kind: "duration, 1s to 24h",
        default: Some("\"5m\""),
        absent: "",
        example: "\"1m\"",
        what: "Between two readings of the key set. A token with a key that is not in it has it read at once, at most every 10 s.",
        why: "",
    },
    Key {
        name: "max_stale",
        kind: "duration, at least `refresh`",
        default: Some("\"1h\""),
        absent: "",
        example: "\"6h\"",
        what: "How long the last good key set counts while it cannot be read. Beyond, tokens are refused with 503.",
        why: "An issuer that is away locks nobody out at once, and a key that it withdrew does not count for ever.",
    },
];

/// Every issuer.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>, env: &Env) -> Vec<JwtConfig> {
    let mut known = names(KEYS);
    // Known, so that it gets a better answer than "not a key".
    known.push("secret");
    let sections = root.named_sections(reading, "jwt", &known);
    sections.into_iter().filter_map(|(name, section)| read_one(reading, name, &section, env)).collect()
}

fn read_one(
    reading: &mut Reading<'_>,
    name: String,
    section: &Section<'_, '_>,
    env: &Env,
) -> Option<JwtConfig> {
    let keys = read_keys(reading, section, env);
    let algorithms = read_algorithms(reading, section, keys.as_ref());
    let text = |value: &DeValue<'_>| values::text(value).map(str::to_owned);
    let issuer = section.value(reading, "issuer", text).map(|said| said.value);
    let audience = if section.is_list("audience") {
        section.list(reading, "audience", "[\"vertice\"]", text).map(plain)
    } else {
        section.value(reading, "audience", text).map(|said| vec![said.value])
    };
    let leeway = section.value(reading, "leeway", |v| within(v, Duration::ZERO, MOST_LEEWAY));
    let scopes_claims = section.list(reading, "scopes_claims", "[\"scopes\"]", text).map(plain);
    let tenant_claim = section.value(reading, "tenant_claim", text).map(|said| said.value);
    let claim_headers = read_claim_headers(reading, section);
    let day = Duration::from_hours(24);
    let refresh = section.value(reading, "refresh", |v| within(v, Duration::from_secs(1), day));
    let refresh = refresh.map_or(REFRESH, |said| said.value);
    let max_stale = section.value(reading, "max_stale", |v| within(v, refresh, day));
    Some(JwtConfig {
        name,
        keys: keys?.value,
        algorithms,
        issuer,
        audience: audience.unwrap_or_default(),
        leeway: leeway.map_or(LEEWAY, |said| said.value),
        scopes_claims: scopes_claims.unwrap_or_else(|| vec!["scopes".into(), "permissions".into()]),
        tenant_claim: tenant_claim.unwrap_or_else(|| "tenant_id".into()),
        claim_headers,
        refresh,
        max_stale: max_stale.map_or(MAX_STALE.max(refresh), |said| said.value),
    })
}

fn plain(said: Said<Vec<Said<String>>>) -> Vec<String> {
    said.value.into_iter().map(|item| item.value).collect()
}

fn within(value: &DeValue<'_>, least: Duration, most: Duration) -> Outcome<Duration> {
    let duration = values::duration(value)?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    Err(Wrong::new(format!("is {duration:?}"), format!("give a duration from {least:?} to {most:?}")))
}

fn read_keys(reading: &mut Reading<'_>, section: &Section<'_, '_>, env: &Env) -> Option<Said<JwtKeys>> {
    if let Some(at) = section.place_of("secret") {
        let wrong = format!("`{}` would put a secret into this file", section.path_of("secret"));
        reading.mistake(&at, wrong, "give `secret_file` or `secret_env`");
        return None;
    }
    let sources = ["secret_env", "secret_file", "jwks_file", "jwks_url"];
    let said: Vec<_> = sources.into_iter().filter_map(|key| section.place_of(key)).collect();
    let right = "give one of `secret_env`, `secret_file`, `jwks_file` and `jwks_url`";
    match said.as_slice() {
        [] => reading.missing(&section.at, format!("`{}` has no keys", section.path()), right),
        [_] => {}
        [_, second, ..] => {
            reading.mistake(second, format!("`{}` has its keys from several places", section.path()), right);
        }
    }
    let variable = section.value(reading, "secret_env", |value| {
        long_enough(read_secret_variable(values::text(value)?, env)?).map(JwtKeys::Secret)
    });
    let secret = section.value(reading, "secret_file", |value| {
        long_enough(read_secret_file(&values::path(value)?)?).map(JwtKeys::Secret)
    });
    let file = section.value(reading, "jwks_file", values::path);
    let file = file.map(|said| {
        let at = reading.place(&said.at);
        Said { value: JwtKeys::File(Placed { value: said.value, at }), at: said.at }
    });
    let url = section.value(reading, "jwks_url", |value| {
        // As for services, so that it can be connected to in the same way.
        values::service_url(value).map(JwtKeys::Url)
    });
    variable.or(secret).or(file).or(url)
}

fn long_enough(secret: Secret) -> Outcome<Secret> {
    if secret.expose().len() >= SECRET_BYTES {
        return Ok(secret);
    }
    Err(Wrong::new(
        format!("holds a secret of less than {SECRET_BYTES} bytes"),
        "make a new one: whoever has a token can try out short secrets (RFC 7518, section 3.2)",
    ))
}

fn read_algorithms(
    reading: &mut Reading<'_>,
    section: &Section<'_, '_>,
    keys: Option<&Said<JwtKeys>>,
) -> Vec<JwtAlgorithm> {
    let Some(list) = section.list(reading, "algorithms", "[\"HS256\"]", algorithm) else {
        if section.place_of("algorithms").is_none() {
            let wrong = format!("`{}` is missing", section.path_of("algorithms"));
            reading.missing(&section.at, wrong, "write algorithms = [\"HS256\"], as the issuer signs");
        }
        return Vec::new();
    };
    if section.list_is_empty("algorithms") {
        let wrong = format!("`{}` is empty", section.path_of("algorithms"));
        reading.mistake(&list.at, wrong, "name what the issuer signs with");
    }
    let with_secret = keys.map(|keys| matches!(keys.value, JwtKeys::Secret(_)));
    for said in &list.value {
        if with_secret.is_some_and(|with_secret| with_secret != said.value.is_symmetric()) {
            let wrong = format!("`{}` has {}", section.path_of("algorithms"), said.value.as_str());
            let right = if said.value.is_symmetric() {
                "HS algorithms need a secret; with a key set use RS, PS, ES or EdDSA"
            } else {
                "with a secret use HS256, HS384 or HS512; all others need a key set"
            };
            reading.mistake(&said.at, wrong, right);
        }
    }
    list.value.into_iter().map(|said| said.value).collect()
}

fn algorithm(value: &DeValue<'_>) -> Outcome<JwtAlgorithm> {
    let text = values::text(value)?;
    JwtAlgorithm::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| {
        let known = JwtAlgorithm::ALL.map(JwtAlgorithm::as_str);
        let guess = suggest::nearest(text, &known).map(|k| format!("did you mean \"{k}\"? "));
        Wrong::new(
            format!("has {}", shorten(text)),
            format!("{}known are {}", guess.unwrap_or_default(), known.join(", ")),
        )
    })
}

fn read_claim_headers(reading: &mut Reading<'_>, section: &Section<'_, '_>) -> Vec<(HeaderName, String)> {
    let path = section.path_of("claim_headers");
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    for (key, value) in section.pairs(reading, "claim_headers", "{ x-user-id = \"sub\" }") {
        let name = own_field(key.value);
        if let Err(wrong) = &name {
            reading.mistake(&key.at, format!("`{path}` {}", wrong.what), wrong.right.clone());
        }
        let claim = understand(reading, &path, value, |value| values::text(value).map(str::to_owned));
        let (Ok(name), Some(claim)) = (name, claim) else { continue };
        if headers.iter().any(|(known, _)| *known == name) {
            let wrong = format!("`{path}` has {name} twice (case does not matter)");
            reading.mistake(&key.at, wrong, "name each header once");
        }
        headers.push((name, claim.value));
    }
    headers
}

/// A field that policies set in the place of what clients say.
pub(super) fn own_field(text: &str) -> Outcome<HeaderName> {
    let name = field_name(text, Message::Request)?;
    if matches!(name.as_str(), "content-type" | "accept-encoding" | "range" | "origin") {
        return Err(Wrong::new(
            format!("has the name '{name}'"),
            "choose a name of its own, like \"x-user-id\": this one is taken out of everything that clients send",
        ));
    }
    Ok(name)
}

/// A secret in the variable `name`.
pub(super) fn read_secret_variable(name: &str, env: &Env) -> Outcome<Secret> {
    env.get(name).map(Secret::new).ok_or_else(|| {
        Wrong::new(
            format!("names the variable {}, which is not set", shorten(name)),
            "set it in the environment of the gateway",
        )
    })
}

/// A secret alone in a file.
pub(super) fn read_secret_file(path: &Path) -> Outcome<Secret> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Wrong::new(
            format!("names {shown}, which cannot be read: {error}"),
            "name a file that this process can read",
        )
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Wrong::new(format!("names {shown}, which is empty"), "put the secret into it"));
    }
    Ok(Secret::new(text))
}
