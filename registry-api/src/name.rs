//! The checked strings of the contract: a service's name, an instance's id, a health path.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// A string that broke the rule of its type; the text names the rule and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError(pub String);

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RuleError {}

/// Reads a checked type out of a text without a copy of the text.
pub(crate) struct Checked<T>(pub(crate) fn(&str) -> Result<T, RuleError>);

impl<T> Visitor<'_> for Checked<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// Makes a cheaply cloned, checked string type with the usual traits and a `parse` that is the only way in.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:path, $make:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Checked(Self::parse))
            }
        }

        impl $name {
            /// Checks `text` against the rule of this type.
            pub fn parse(text: &str) -> Result<Self, RuleError> {
                $check(text).map(|()| Self($make(text)))
            }

            /// The text as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = RuleError;
            fn try_from(text: String) -> Result<Self, RuleError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl std::str::FromStr for $name {
            type Err = RuleError;
            fn from_str(text: &str) -> Result<Self, RuleError> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

checked_string!(
    /// A service's name: `^[a-z0-9][a-z0-9_-]{1,63}$`.
    ServiceName,
    check_service_name,
    Arc::from
);

checked_string!(
    /// One copy of a service: 1 to 128 of `[A-Za-z0-9._:-]`, or the reserved [`InstanceId::legacy`].
    InstanceId,
    check_instance_id,
    Arc::from
);

checked_string!(
    /// The path that answers 200 when an instance is healthy; starts with exactly one `/`.
    HealthPath,
    check_health_path,
    health_path
);

/// The reserved id of the one instance that a client of the old calls can have.
pub const LEGACY_INSTANCE: &str = "@legacy";

impl InstanceId {
    /// The reserved instance `@legacy`, which only the old calls write.
    pub fn legacy() -> Self {
        Self(Arc::from(LEGACY_INSTANCE))
    }

    /// Whether this is `@legacy`.
    pub fn is_legacy(&self) -> bool {
        self.as_str() == LEGACY_INSTANCE
    }
}

impl Default for HealthPath {
    fn default() -> Self {
        Self(usual_health_path())
    }
}

const USUAL_HEALTH_PATH: &str = "/health";

/// Nearly all instances have this one: they share it.
fn usual_health_path() -> Arc<str> {
    static USUAL: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(USUAL_HEALTH_PATH));
    USUAL.clone()
}

fn health_path(text: &str) -> Arc<str> {
    if text == USUAL_HEALTH_PATH { usual_health_path() } else { Arc::from(text) }
}

fn check_service_name(text: &str) -> Result<(), RuleError> {
    let shown = shorten(text);
    if text.len() < 2 || text.len() > limits::NAME_BYTES {
        return Err(RuleError(format!("a service name has 2 to 64 characters, {shown} has {}", text.len())));
    }
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match text.bytes().enumerate().find(|&(i, b)| !(lower(b) || (i > 0 && matches!(b, b'_' | b'-')))) {
        None => Ok(()),
        Some((i, _)) => Err(RuleError(format!(
            "a service name matches ^[a-z0-9][a-z0-9_-]{{1,63}}$, {shown} does not at character {}",
            i + 1
        ))),
    }
}

fn check_instance_id(text: &str) -> Result<(), RuleError> {
    if text == LEGACY_INSTANCE {
        return Ok(());
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if text.is_empty() || text.len() > limits::INSTANCE_ID_BYTES || !text.bytes().all(allowed) {
        return Err(RuleError(format!(
            "an instance id has 1 to 128 characters of A-Z a-z 0-9 . _ : -, {} has not",
            shorten(text)
        )));
    }
    Ok(())
}

fn check_health_path(text: &str) -> Result<(), RuleError> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'#' && b != b'\\';
    if !text.starts_with('/')
        || text.starts_with("//")
        || text.len() > limits::HEALTH_PATH_BYTES
        || !text.bytes().all(plain)
    {
        return Err(RuleError(format!(
            "a health path starts with one /, has at most {} printable characters and no # or \\, {} is not one",
            limits::HEALTH_PATH_BYTES,
            shorten(text)
        )));
    }
    Ok(())
}

/// A quoted form of `text` for messages, never longer than a line and without control characters.
pub fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    format!("'{shown}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_by_rule() {
        for good in ["ab", "maximus_core_service", "0x", "a-b_c", &"a".repeat(64)] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "_ab", "-ab", "Ab", "a b", "a/b", "a.b", "ä_b", "@legacy", &"a".repeat(65)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn instance_ids_by_rule() {
        for good in
            ["a", "10.0.0.1:8080", "[".replace('[', "x").as_str(), "vertice-maximus_eureka:8200", "@legacy"]
        {
            assert!(InstanceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "@other", "a b", "a/b", "é", &"a".repeat(129)] {
            assert!(InstanceId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn health_paths_by_rule() {
        for good in ["/", "/health", "/health?deep=1", "/a/b"] {
            assert!(HealthPath::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "health", "//evil", "/a b", "/a\r\nb", "/a#b", "/\\a", &format!("/{}", "a".repeat(256))]
        {
            assert!(HealthPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_never_carry_control_characters_or_whole_documents() {
        let message = ServiceName::parse(&"\r\n".repeat(1000)).unwrap_err().0;
        assert!(!message.contains('\n') && message.len() < 400, "{message}");
    }
}
