//! One copy of a service, as it is registered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::metadata::Metadata;
use crate::name::{HealthPath, InstanceId, ServiceName};
use crate::url::ServiceUrl;

/// The owner's word about an instance. That a lease ran out is not a status: see [`Instance::stale`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Registered, not healthy yet.
    Starting,
    /// Takes requests.
    #[default]
    Up,
    /// Finishes what it has, takes nothing new.
    Draining,
    /// Takes nothing.
    Down,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }

    /// The status that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Starting, Self::Up, Self::Draining, Self::Down].into_iter().find(|s| s.as_str() == word)
    }
}

/// How long a registration lasts without a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Seconds.
    pub ttl_s: u32,
}

/// A registered copy of a service. What a heartbeat changes (the time left) is not in here: a heartbeat is no change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Whose copy.
    pub service: ServiceName,
    /// Which copy; a restart takes over its own record.
    pub instance_id: InstanceId,
    /// Drawn by the client at its start, newer wins.
    pub incarnation: u64,
    /// Given by the server per (service, id), goes up with each takeover; an old one changes nothing.
    pub generation: u64,
    /// Where it listens.
    pub url: ServiceUrl,
    /// Where it says that it is healthy.
    pub health_endpoint: HealthPath,
    /// Labels.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// Where it stands, for choices near the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Its share against the others, 0 to 1000.
    pub weight: u16,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// The owner's word.
    pub status: Status,
    /// An operator's word, which wins.
    #[serde(rename = "override", default, skip_serializing_if = "Option::is_none")]
    pub status_override: Option<Status>,
    /// The lease ran out but the registry does not trust its own view enough to remove it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// The lease that was granted.
    pub lease: Lease,
    /// When, in milliseconds since 1970 (the server's wall clock; for people, never for decisions).
    pub registered_at_ms: u64,
    /// The principal whose token registered it.
    pub registered_by: Arc<str>,
}

impl Instance {
    /// The status that counts: the operator's where there is one, else the owner's.
    pub fn effective_status(&self) -> Status {
        self.status_override.unwrap_or(self.status)
    }
}
