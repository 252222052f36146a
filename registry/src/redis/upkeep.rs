//! What a replica does beside following: tells Redis of heartbeats, sweeps, and looks whether Redis is still the one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::SourceState;

use super::commit::beat;
use super::legacy_poll::Poll;
use super::link::{Away, Link};
use super::mirror::Beaten;
use super::record::Key;
use super::scripts::Script;
use super::{Memory, RedisStore, with};

/// How long heartbeats are gathered: far less than any lease, and many in one call.
const GATHER: Duration = Duration::from_millis(500);
/// Heartbeats in one call: a script keeps everybody else waiting.
const BEATS: usize = 500;
/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(1);
/// Removals in one call.
const BATCH: u64 = 200;
/// Without a sweep for so long, leases could not be renewed either.
const STANDSTILL_MS: u64 = 5_000;
/// Expiries within it are counted together.
const WINDOW_MS: u64 = 60_000;
/// However many run out at once: what is overdue for so long goes.
const PATIENCE_MS: u64 = 600_000;

/// Tells Redis of heartbeats until `shutdown`.
pub(super) async fn tell_beats(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(GATHER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        let Some((link, _)) = store.link() else { continue };
        tokio::select! {
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

/// Sweeps and looks after the link until `shutdown`.
pub(super) async fn keep_up(store: RedisStore, memory: Arc<dyn Memory>, mut shutdown: Shutdown) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut poll = Poll::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.pulled() => return,
        }
        let Some((link, epoch)) = store.link() else { continue };
        let kept = async {
            Link::clone(&link).check(&store.0.settings.address).await?;
            let state = sweep(&store, &link, &epoch).await?;
            if store.holds(&link) {
                with(&*memory, |store, _| store.follow_state(state));
            }
            if store.0.settings.legacy {
                poll.look(&store, &*memory, &link, &epoch).await?;
            }
            Ok::<_, Away>(())
        };
        tokio::select! {
            kept = kept => {
                if let Err(why) = kept {
                    store.cut(&*memory, &link, &why);
                }
            }
            () = shutdown.pulled() => return,
        }
    }
}

/// Removes what ran out; what the sweep makes of the registry's state.
async fn sweep(store: &RedisStore, link: &Link, epoch: &str) -> Result<SourceState, Away> {
    let legacy = if store.0.settings.legacy { "1" } else { "" };
    let arguments = [
        epoch.to_owned(),
        BATCH.to_string(),
        store.0.settings.grace.as_millis().to_string(),
        STANDSTILL_MS.to_string(),
        legacy.to_owned(),
        WINDOW_MS.to_string(),
        PATIENCE_MS.to_string(),
    ];
    loop {
        let answer: Vec<String> = link.run(Script::Sweep, &arguments).await?;
        let number = |index: usize| answer.get(index).and_then(|text| text.parse::<u64>().ok());
        let (Some(now), Some(grace_until), Some(preserving), Some(removed)) =
            (number(1), number(2), number(3), number(4))
        else {
            return Err(Away("sweep.lua: another epoch has begun".into()));
        };
        if removed < BATCH {
            return Ok(match (now < grace_until, preserving) {
                (true, _) => SourceState::Warming,
                (false, 0) => SourceState::Serving,
                (false, _) => SourceState::Preserving,
            });
        }
        tokio::task::yield_now().await;
    }
}
