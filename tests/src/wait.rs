//! Waiting for a condition that can only be seen from outside.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Far beyond what any healthy wait takes on a busy two-core machine: who reaches it is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks: short against every promise that is measured by looking (the tightest is one second).
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` gives something, at most `limit`; then panics, naming `what` was waited for.
///
/// For conditions of another process, which sends no event. Never for "long enough".
pub async fn eventually<T, F>(limit: Duration, what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for: {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// Does `work`, which must be done within `limit`; else panics, naming `what`.
pub async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> T {
    timeout(limit, work).await.unwrap_or_else(|_| panic!("not done within {limit:?}: {what}"))
}
