//! The one place that reads the wall clock. Decisions use `tokio::time::Instant`; this is for people and for files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970, zero on a machine whose clock stands before it.
#[allow(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}
