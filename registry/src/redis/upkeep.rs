//! What a replica does beside following: tells Redis of heartbeats, takes marks of staleness back, and looks whether Redis
//! is still the one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval};
use vertice_process::shutdown::Shutdown;

use super::commit::beat;
use super::decide;
use super::legacy_poll::Poll;
use super::link::{Away, Link};
use super::mirror::Beaten;
use super::record::Key;
use super::{Memory, RedisStore, sweep, with};
use crate::store::{Store, TICK};

/// How long heartbeats are gathered: far less than any lease, and many in one call.
const GATHER: Duration = Duration::from_millis(500);
/// Heartbeats in one call: a script keeps everybody else waiting.
const BEATS: usize = 500;
/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(1);
/// Marks that are taken back at once: one call each, many in flight.
const FRESHENED: usize = 64;

/// Tells Redis of heartbeats until `shutdown`.
pub(super) async fn tell_beats(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(GATHER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        let Some((link, _)) = store.link() else { continue };
        tokio::select! {
            biased;
            () = tell(&store, &*memory, &link) => {}
            () = shutdown.pulled() => return,
        }
    }
}

/// Tells of all that was heard since the last time. What could not be told is kept.
async fn tell(store: &RedisStore, memory: &dyn Memory, link: &Arc<Link>) {
    let mut heard: Vec<(Key, Beaten)> = std::mem::take(&mut store.mirror().beats).into_iter().collect();
    let mut gone = 0_usize;
    while !heard.is_empty() {
        let batch = heard.split_off(heard.len().saturating_sub(BEATS));
        let leases: Vec<_> = batch.iter().map(|(key, b)| (key.clone(), b.generation, b.ttl_s)).collect();
        match beat(link, store.0.settings.legacy, &leases).await {
            Ok(lost) => gone += keep_lost(store, &batch, &lost),
            Err(why) => {
                let mut mirror = store.mirror();
                for (key, beaten) in heard.into_iter().chain(batch) {
                    mirror.beats.entry(key).or_insert(beaten);
                }
                drop(mirror);
                store.cut(memory, link, &why);
                return;
            }
        }
    }
    if gone > 0 {
        store.distrust(memory, link, &Away(format!("it does not know {gone} leases that are held here")));
    }
}

/// A lease that Redis does not know is asked for once more, when the stream has told of its removal if there was one.
/// How many were unknown for the second time.
fn keep_lost(store: &RedisStore, batch: &[(Key, Beaten)], lost: &[usize]) -> usize {
    let mut mirror = store.mirror();
    let mut gone = 0;
    for (key, beaten) in lost.iter().filter_map(|index| batch.get(*index)) {
        if mirror.known(key).is_some_and(|known| known.generation == beaten.generation) {
            gone += usize::from(beaten.lost);
            mirror.beats.entry(key.clone()).or_insert(Beaten { lost: true, ..*beaten });
        }
    }
    gone
}

/// Takes the mark of staleness off those that were heard, until `shutdown`. Apart from the heartbeats: each is a change,
/// and the leases of a whole fleet must not wait for them.
pub(super) async fn freshen(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(GATHER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        let heard = std::mem::take(&mut store.mirror().to_freshen);
        let all = futures_util::stream::iter(heard).for_each_concurrent(FRESHENED, |(key, generation)| {
            let (store, memory) = (&store, &*memory);
            async move {
                let done = store.commit(memory, &key, |held| decide::renew(held, Some(generation))).await;
                if let Err(refusal) = done {
                    tracing::debug!(
                        key = key.as_str(),
                        ?refusal,
                        "a stale instance that was heard is gone by now"
                    );
                }
            }
        });
        tokio::select! {
            biased;
            () = all => {}
            () = shutdown.pulled() => return,
        }
    }
}

/// Lets the store see that time passes, until `shutdown`.
pub(super) async fn observe(memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        with(&*memory, Store::observe);
    }
}

/// Sweeps and looks after the link until `shutdown`.
pub(super) async fn keep_up(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poll = Poll::default();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        let Some((link, epoch)) = store.link() else { continue };
        let kept = async {
            link.check(&*store.0.wire, &store.0.settings.address).await?;
            sweep::sweep(&store, &*memory, &link, &epoch).await?;
            if store.0.settings.legacy {
                poll.look(&store, &*memory, &link, &epoch).await?;
            }
            Ok::<_, Away>(())
        };
        tokio::select! {
            biased;
            kept = kept => {
                if let Err(why) = kept {
                    store.cut(&*memory, &link, &why);
                }
            }
            () = shutdown.pulled() => return,
        }
    }
}
