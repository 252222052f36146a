//! The task that keeps the way to Redis: connects, joins, brings memory and Redis together, and follows the stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use vertice_process::shutdown::Shutdown;

use super::link::{Away, Link};
use super::resync::{apply, bring_together, join, next};
use super::wire::Connection;
use super::{Memory, RedisStore};

/// Between two tries, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Between two tries, at most: Redis is found again within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Follows until `shutdown`.
pub(super) async fn run(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        let session = async {
            let link = Link::open(&*store.0.wire, &store.0.settings.address).await?;
            let reader = link.reader(&*store.0.wire, &store.0.settings.address).await?;
            let joined = join(&store, &link).await?;
            let link = Arc::new(link);
            bring_together(&store, &*memory, &link, &joined).await?;
            Ok::<_, Away>((link, reader))
        };
        let opened = tokio::select! {
            biased;
            opened = session => opened,
            () = shutdown.pulled() => return,
        };
        match opened {
            Ok((link, reader)) => {
                (pause, told) = (FIRST_PAUSE, None);
                tokio::select! {
                biased;
                        () = follow(&store, &*memory, &link, reader) => {}
                        () = shutdown.pulled() => return,
                    }
            }
            // Each reason once: a Redis that is away for a day must not fill the log.
            Err(why) if told.as_ref() != Some(&why) => {
                tracing::warn!(%why, "Redis cannot be used yet");
                told = Some(why);
            }
            Err(_) => {}
        }
        // Drawn, so that replicas do not come back in one instant.
        tokio::select! {
            biased;
            () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            () = shutdown.pulled() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Follows the stream until the link is cut, by this or by anybody else.
async fn follow(store: &RedisStore, memory: &dyn Memory, link: &Arc<Link>, reader: Arc<dyn Connection>) {
    while store.holds(link) {
        let Some(at) = store.0.followed.at() else { return };
        let entries = tokio::select! {
            biased;
            entries = next(&*reader, at) => entries,
            // Perhaps of an earlier link: the loop's condition knows.
            () = store.0.cut.notified() => continue,
        };
        match entries {
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                if let Err(why) = apply(store, memory, at, &entries) {
                    store.distrust(memory, link, &Away(why));
                }
                tokio::task::yield_now().await;
            }
            Err(why) => store.cut(memory, link, &why),
        }
    }
}
