//! Labels of an instance: string to string, sorted, bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::name::{RuleError, shorten};

/// At most 32 entries, keys of 1 to 64 bytes, values up to 512 bytes, 4 KiB in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Metadata(Option<Arc<BTreeMap<String, String>>>);

impl Metadata {
    /// Checks `entries` against the limits; the error names the first that is over.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, RuleError> {
        if entries.len() > limits::METADATA_ENTRIES {
            return Err(RuleError(format!(
                "metadata has {} entries, {} are allowed",
                entries.len(),
                limits::METADATA_ENTRIES
            )));
        }
        let mut bytes = 0;
        for (key, value) in &entries {
            if key.is_empty() || key.len() > limits::METADATA_KEY_BYTES {
                return Err(RuleError(format!("metadata key {} has not 1 to 64 bytes", shorten(key))));
            }
            if value.len() > limits::METADATA_VALUE_BYTES {
                return Err(RuleError(format!(
                    "metadata value of {} has {} bytes, {} are allowed",
                    shorten(key),
                    value.len(),
                    limits::METADATA_VALUE_BYTES
                )));
            }
            bytes += key.len() + value.len();
        }
        if bytes > limits::METADATA_BYTES {
            return Err(RuleError(format!(
                "metadata has {bytes} bytes, {} are allowed",
                limits::METADATA_BYTES
            )));
        }
        // None for none: many instances have no labels, and a registry holds very many instances.
        Ok(Self((!entries.is_empty()).then(|| Arc::new(entries))))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(String::as_str)
    }

    /// Keys and values in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|entries| entries.iter()).map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0.map(Arc::unwrap_or_clone).unwrap_or_default()
    }
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = RuleError;
    fn try_from(entries: BTreeMap<String, String>) -> Result<Self, RuleError> {
        Self::new(entries)
    }
}
