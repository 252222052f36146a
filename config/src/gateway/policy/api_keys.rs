//! `[[api_key]]`: keys of programs that ask. Only their hashes are kept, from the start on.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use sha2::{Digest as _, Sha256};
use toml::de::DeValue;
use vertice_registry_api::name::shorten;

use crate::env::Env;
use crate::gateway::listeners::word;
use crate::keys::{Key, names};
use crate::reader::{Outcome, Reading, Section, Wrong};
use crate::values;

/// A key of the original gateway, by the environment.
const MAXIMUS: &str = "MAXIMUS_API_KEY";

/// Keys that one gateway knows; beyond, an identity service is the better place (`[jwt]`, `[forward_auth]`).
const MOST: usize = 10_000;

/// The SHA-256 of a key. No dump shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

impl KeyHash {
    /// Of `key`.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(hash))
    }
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyConfig {
    /// For logs and metrics; unique.
    pub name: String,
    /// Of the key.
    pub hash: KeyHash,
    /// What it may be used for; `*`: everything.
    pub scopes: Vec<String>,
    /// For whom it may ask; `*`: for all; `None`: for no tenant.
    pub tenant: Option<String>,
    /// Seconds since 1970 from which on it counts no more; `None`: never.
    pub expires_s: Option<u64>,
}

pub(in crate::gateway) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: "word",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"ci\"",
        what: "How logs and metrics call it; unique.",
        why: "",
    },
    Key {
        name: "sha256",
        kind: "64 hexadecimal digits",
        default: None,
        absent: "`key_file` or `key_env` must be given",
        example: "\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"",
        what: "The SHA-256 of the key: `vertice-gateway hash-key` makes it from what it reads.",
        why: "Who reads this file learns no key, as long as keys are long and random.",
    },
    Key {
        name: "key_file",
        kind: "path",
        default: None,
        absent: "`sha256` or `key_env` must be given",
        example: "\"/run/secrets/ci-key\"",
        what: "A file that holds the key and nothing else (a line end is cut). Only its hash is kept; a reload reads it again.",
        why: "",
    },
    Key {
        name: "key_env",
        kind: "variable",
        default: None,
        absent: "`sha256` or `key_file` must be given",
        example: "\"CI_API_KEY\"",
        what: "The environment variable that holds the key.",
        why: "",
    },
    Key {
        name: "scopes",
        kind: "list of words",
        default: Some("[]"),
        absent: "",
        example: "[\"osint\", \"admin\"]",
        what: "What the key may be used for: routes ask for scopes. `\"*\"` is everything.",
        why: "Nothing beyond routes that ask for no scope, before somebody says so.",
    },
    Key {
        name: "tenant",
        kind: "text",
        default: None,
        absent: "no tenant",
        example: "\"acme\"",
        what: "For whom the key asks, where a route has a `tenant`. `\"*\"` is for all.",
        why: "",
    },
    Key {
        name: "expires",
        kind: "date",
        default: None,
        absent: "never",
        example: "\"2027-01-01T00:00:00Z\"",
        what: "From when on it counts no more: RFC 3339 with a time and an offset. The log warns from 14 days before on.",
        why: "",
    },
];

/// The keys of the file, and that of the environment.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>, env: &Env) -> Vec<ApiKeyConfig> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut hashes: BTreeMap<KeyHash, String> = BTreeMap::new();
    let mut keys = Vec::new();
    let mut known = names(KEYS);
    // Known, so that it gets a better answer than "not a key".
    known.push("key");
    for section in root.sections(reading, "api_key", &known) {
        let name = section.wanted(reading, "name", "\"ci\"", word);
        let hash = read_hash(reading, &section, env);
        let scopes = section.list(reading, "scopes", "[\"osint\"]", scope);
        let tenant = section.value(reading, "tenant", |value| values::text(value).map(str::to_owned));
        let expires_s = section.value(reading, "expires", date);
        let Some(name) = name else { continue };
        let line = reading.line(&name.at);
        if let Some(earlier) = lines.insert(name.value.clone(), line) {
            let wrong = format!("`api_key.name` '{}' is taken by the key of line {earlier}", name.value);
            reading.mistake(&name.at, wrong, "give each key its own name: logs tell them apart by it");
        }
        let Some(hash) = hash else { continue };
        if let Some(other) = hashes.insert(hash, name.value.clone()) {
            let wrong = format!("`api_key` '{}' is the same key as '{other}'", name.value);
            reading.mistake(&name.at, wrong, "give each program its own key, or keep one of the two");
        }
        keys.push(ApiKeyConfig {
            name: name.value,
            hash,
            scopes: scopes.map_or_else(Vec::new, |said| said.value.into_iter().map(|s| s.value).collect()),
            tenant: tenant.map(|said| said.value),
            expires_s: expires_s.map(|said| said.value),
        });
    }
    if let (true, Some(at)) = (keys.len() > MOST, root.place_of("api_key")) {
        let wrong = format!("there are {} `api_key`s", keys.len());
        reading.mistake(&at, wrong, format!("at most {MOST}; for more, use [jwt] or [forward_auth]"));
    }
    // The original's. A file that names this key otherwise has said what it may.
    if let Some(key) = env.get(MAXIMUS)
        && !hashes.contains_key(&KeyHash::of(key.as_bytes()))
        && !lines.contains_key("maximus")
    {
        keys.push(ApiKeyConfig {
            name: "maximus".into(),
            hash: KeyHash::of(key.as_bytes()),
            scopes: vec!["*".into()],
            tenant: Some("*".into()),
            expires_s: None,
        });
    }
    keys
}

/// The hash from its one source.
fn read_hash(reading: &mut Reading<'_>, section: &Section<'_, '_>, env: &Env) -> Option<KeyHash> {
    if let Some(at) = section.place_of("key") {
        reading.mistake(
            &at,
            "`api_key.key` would put a secret into this file",
            "give `sha256` (`vertice-gateway hash-key` makes it), `key_file` or `key_env`",
        );
        return None;
    }
    let sources: Vec<_> =
        ["sha256", "key_file", "key_env"].into_iter().filter_map(|key| section.place_of(key)).collect();
    let right = "give one of `sha256`, `key_file` and `key_env`";
    match sources.as_slice() {
        [] => reading.missing(&section.at, "`api_key` has no key", right),
        [_] => {}
        [_, second, ..] => reading.mistake(second, "`api_key` has its key from several places", right),
    }
    let direct = section.value(reading, "sha256", |value| {
        let text = values::text(value)?;
        KeyHash::from_hex(text).ok_or_else(|| {
            // Maybe somebody wrote the key itself: it is not shown.
            Wrong::new(
                "is no SHA-256",
                "give 64 hexadecimal digits, as `vertice-gateway hash-key` prints them",
            )
        })
    });
    let file = section.value(reading, "key_file", |value| {
        let key = super::jwt::read_secret_file(&values::path(value)?)?;
        usable(key.expose()).map(|key| KeyHash::of(key.as_bytes()))
    });
    let variable = section.value(reading, "key_env", |value| {
        let key = super::jwt::read_secret_variable(values::text(value)?, env)?;
        usable(key.expose()).map(|key| KeyHash::of(key.as_bytes()))
    });
    direct.or(file).or(variable).map(|said| said.value)
}

/// A key that a header can carry.
fn usable(key: &str) -> Outcome<&str> {
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(key)
    } else {
        Err(Wrong::new(
            "holds what no header can carry",
            "use letters, digits and signs of ASCII, without spaces",
        ))
    }
}

/// A scope: anything that a token can list, without spaces.
pub(super) fn scope(value: &DeValue<'_>) -> Outcome<String> {
    let text = values::text(value)?;
    // RFC 6749 3.3.
    if text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(
            format!("has {}", shorten(text)),
            "a scope is like \"osint\" or \"admin:access\", without spaces",
        ))
    }
}

/// RFC 3339, as text or as TOML has it.
fn date(value: &DeValue<'_>) -> Outcome<u64> {
    let text = match value {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => values::text(value)?.to_owned(),
    };
    let seconds = text.parse::<jiff::Timestamp>().ok().and_then(|date| u64::try_from(date.as_second()).ok());
    seconds.ok_or_else(|| {
        Wrong::new(
            format!("is {}", shorten(&text)),
            "give a date with a time and an offset: \"2027-01-01T00:00:00Z\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_digits_and_nothing_else() {
        let hash = KeyHash::of(b"secret");
        assert_eq!(hash.to_hex(), "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
        assert_eq!(KeyHash::from_hex(&hash.to_hex().to_uppercase()), Some(hash));
        for text in ["", "2b", &"+1".repeat(32), &"zz".repeat(32), &"\u{e4}".repeat(32)] {
            assert_eq!(KeyHash::from_hex(text), None, "{text}");
        }
        assert_eq!(format!("{hash:?}"), "[hash]");
    }
}
