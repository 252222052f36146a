//! Waiting for something to become true, with the last reason why it was not.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a look found instead of what is waited for.
#[derive(Debug)]
pub(super) enum Missing {
    /// It may come.
    Yet(String),
    /// It will never come: no use in waiting.
    ForEver(String),
}

impl From<String> for Missing {
    fn from(why: String) -> Self {
        Self::Yet(why)
    }
}

/// Looks again and again until `look` succeeds, at most for `limit`; then the error is the last look's.
pub(super) async fn until<T>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, Missing>,
) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(seen) => return Ok(seen),
            Err(Missing::ForEver(why)) => return Err(why),
            Err(Missing::Yet(why)) if Instant::now() >= deadline => {
                return Err(format!("not within {} s: {why}", limit.as_secs()));
            }
            Err(Missing::Yet(_)) => sleep(LOOK_AGAIN).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_at_success_at_a_hopeless_look_and_at_the_limit() {
        let (limit, begun) = (Duration::from_secs(3), Instant::now());
        let mut looks = 0;
        let third = until(limit, async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(Missing::Yet("too early".into())) }
        });
        assert_eq!(third.await, Ok(3));
        let hopeless = until(limit, async || Err::<(), _>(Missing::ForEver("dead".into()))).await;
        assert_eq!(hopeless, Err("dead".into()));
        assert!(begun.elapsed() < limit);
        let late = until(limit, async || Err::<(), _>(Missing::Yet("asleep".into()))).await;
        assert_eq!(late, Err("not within 3 s: asleep".into()));
    }
}
