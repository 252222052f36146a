//! Warns of API keys that are over or soon will be: a key that ends on a holiday ends what uses it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use vertice_process::{clock, tasks};

use crate::policy::{ApiKeys, Policies};

/// Between two warnings of one key.
const WARNED_EVERY: Duration = Duration::from_hours(24);

/// Warns now and every day, for as long as these keys are used.
pub(super) fn warn(policies: &Policies) {
    tasks::spawn("api-key-warnings", run(Arc::downgrade(policies.keys())));
}

async fn run(keys: Weak<ApiKeys>) {
    let mut day = tokio::time::interval(WARNED_EVERY);
    loop {
        day.tick().await;
        let Some(keys) = keys.upgrade() else { return };
        for warning in keys.warnings(clock::unix_ms() / 1000) {
            tracing::warn!("{warning}");
        }
    }
}
