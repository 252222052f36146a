//! The answers of the old read calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::instance::Instance;

/// `GET /services/{name}`: one endpoint, as it always was, and all instances beside it.
///
/// Reading is lenient on purpose: what the original writes here was never checked (Q10, Q11), so each field is judged
/// by who reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Echo.
    pub service_name: String,
    /// `@legacy`'s URL if that is up, else the first up instance's, kept until that leaves.
    pub endpoint: String,
    /// Of that endpoint.
    #[serde(default = "default_health")]
    pub health_endpoint: String,
    /// Of that endpoint.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub registered_at: f64,
    /// Seconds since 1970.
    pub last_heartbeat: f64,
    /// Seconds.
    pub ttl_remaining: i64,
    /// Every live instance; absent in the original's answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
}

fn default_health() -> String {
    "/health".into()
}

/// The `{"detail": ...}` of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail<T> {
    /// What went wrong.
    pub detail: T,
}
