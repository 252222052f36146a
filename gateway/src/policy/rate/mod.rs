//! Rate limits: who may ask how often. See `docs/policies.md`.

pub mod gcra;
pub mod buckets;
pub mod limiter;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;
use vertice_config::gateway::policy::{PoliciesConfig, RateLimitConfig};

use gcra::Verdict;
use limiter::{Asker, Limiter, seconds};
use store::RateStore;

/// All limits of a process.
#[derive(Clone, Debug, Default)]
pub struct RateLimits {
    limiters: BTreeMap<String, Arc<Limiter>>,
    store: Option<Arc<RateStore>>,
}

/// The limits of one route, in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct RouteLimits {
    /// By what is known before it is known who asks.
    early: Vec<Arc<Limiter>>,
    /// By who asks, and of the route as a whole: what is refused for another reason uses none of them up.
    late: Vec<Arc<Limiter>>,
    /// `RateLimit-Policy`.
    policy: HeaderValue,
}

/// When in a request's story a limit is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before it is known who asks.
    Early,
    /// When it is.
    Late,
}

impl RateLimits {
    /// Of `config`. A limit that is what it was in `before` keeps what it remembers of everybody.
    pub fn of(config: &PoliciesConfig, before: Option<&Self>) -> Self {
        let known = before.and_then(|before| before.store.as_ref());
        let store = config.rate_limit_store.as_ref().map(|address| match known {
            Some(store) if store.address == *address => store.clone(),
            Some(_) | None => Arc::new(RateStore::start(address.clone())),
        });
        let same_store = match (known, &store) {
            (Some(known), Some(store)) => Arc::ptr_eq(known, store),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let limiter = |config: &Arc<RateLimitConfig>| {
            let kept = before.and_then(|before| before.limiters.get(&config.name));
            let kept = kept.filter(|kept| kept.config == *config && (same_store || !config.shared));
            kept.cloned().unwrap_or_else(|| {
                Arc::new(Limiter::new(config.clone(), store.as_ref().map(|store| store.door().clone())))
            })
        };
        let limiters: BTreeMap<_, _> =
            config.rate_limits.values().map(|config| (config.name.clone(), limiter(config))).collect();
        if let Some(store) = &store {
            store.hear(limiters.values().filter(|limiter| limiter.config.shared).cloned().collect());
        }
        Self { limiters, store }
    }

    /// Those that a route names; `None`: none.
    pub fn route(&self, named: &[Arc<RateLimitConfig>]) -> Option<RouteLimits> {
        let all: Vec<_> =
            named.iter().filter_map(|config| self.limiters.get(&config.name).cloned()).collect();
        let (early, late): (Vec<_>, Vec<_>) = all.into_iter().partition(|limiter| limiter.config.is_early());
        let policy: Vec<_> = early.iter().chain(&late).map(|limiter| limiter.policy()).collect();
        let policy = HeaderValue::from_str(&policy.join(", ")).ok()?;
        (!(early.is_empty() && late.is_empty())).then_some(RouteLimits { early, late, policy })
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Limiter>> {
        self.limiters.values()
    }

    /// Where shared ones are counted.
    pub fn store(&self) -> Option<&RateStore> {
        self.store.as_deref()
    }
}

impl RouteLimits {
    /// `RateLimit-Policy`.
    pub fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// The names of those that are asked in `stage`.
    pub fn names(&self, stage: Stage) -> impl Iterator<Item = &str> {
        self.of(stage).iter().map(|limiter| limiter.config.name.as_str())
    }

    fn of(&self, stage: Stage) -> &[Arc<Limiter>] {
        match stage {
            Stage::Early => &self.early,
            Stage::Late => &self.late,
        }
    }

    /// One request of `asker`: all limits of `stage` have room for it, or none is used. The error is the number of seconds
    /// until it may be worth another try. `told` gets what is left of each.
    pub fn take(&self, stage: Stage, asker: &Asker<'_>, now: Instant, told: &mut String) -> Result<(), u64> {
        let limiters = self.of(stage);
        let mut taken: Vec<(&Limiter, Vec<u8>)> = Vec::new();
        for limiter in limiters {
            let name = limiter.name(asker);
            match limiter.take(&name, now) {
                Verdict::Admitted(left) => {
                    limiter.tell(left, told);
                    // Nothing to give back after the last one.
                    if limiters.len() > 1 {
                        taken.push((limiter, name));
                    }
                }
                Verdict::Refused { wait, left } => {
                    limiter.tell(left, told);
                    for (limiter, name) in taken {
                        limiter.give_back(&name, now);
                    }
                    return Err(seconds(wait));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::buckets::Buckets;
    use super::gcra::{Rate, Verdict};

    const SECOND: u64 = 1_000_000_000;
    /// Of simulated time.
    const STEP: u64 = SECOND / 10_000;
    /// As in `store`.
    const PACE: u64 = 20 * STEP;
    const NAME: &[u8] = b"somebody";

    /// A gateway, and its talk with Redis that is under way.
    struct Gateway {
        buckets: Buckets,
        talks_again: u64,
        /// What is told, when it was sent, and what Redis has said once it has heard it.
        talk: Option<(i64, u64, Option<u64>)>,
    }

    /// Requests that pass in `seconds`, of `offered` per second that come to `gateways` at random.
    fn passed(rate: Rate, gateways: usize, round_trip: u64, offered: u64, seconds: u64, seed: u64) -> u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let gateway = || Gateway { buckets: Buckets::new(rate), talks_again: 0, talk: None };
        let mut all: Vec<Gateway> = (0..gateways).map(|_| gateway()).collect();
        // `settle.lua`, in Rust.
        let (mut redis, mut passed, mut owed) = (0, 0, 0);
        for now in (SECOND..SECOND * (seconds + 1)).step_by(usize::try_from(STEP).unwrap()) {
            owed += offered;
            while owed >= SECOND / STEP {
                owed -= SECOND / STEP;
                let one = &all[random.usize(..gateways)];
                passed +=
                    u64::from(matches!(one.buckets.take(NAME, now, false).verdict, Verdict::Admitted(_)));
            }
            for one in &mut all {
                match &mut one.talk {
                    None if now >= one.talks_again => {
                        let told = one.buckets.tell(NAME);
                        one.talk = (told != 0).then_some((told, now, None));
                    }
                    Some((told, sent, said @ None)) if now >= *sent + round_trip / 2 => {
                        redis = rate.charge(redis, now, *told);
                        *said = Some(redis.saturating_sub(now));
                    }
                    Some((_, sent, Some(ahead))) if now >= *sent + round_trip => {
                        one.buckets.settle(NAME, *ahead, *sent);
                        one.talks_again = *sent + PACE;
                        one.talk = None;
                    }
                    None | Some(_) => {}
                }
            }
        }
        passed
    }

    #[test]
    fn gateways_that_settle_hold_the_limit_together() {
        for seed in 0..3 {
            for (requests, burst, gateways, round_trip) in [
                (2500, 2500, 2, 3 * STEP),
                (1000, 100, 2, 3 * STEP),
                (1000, 100, 5, 3 * STEP),
                (1000, 1, 2, 3 * STEP),
                (100, 100, 2, 3 * STEP),
                (10, 10, 2, 3 * STEP),
                // Redis is slow, and far away.
                (1000, 100, 2, 500 * STEP),
            ] {
                let rate = Rate::new(requests, Duration::from_secs(1), burst);
                let seconds = 10;
                let passed = passed(rate, gateways, round_trip, 5000, seconds, seed);
                let due = u64::from(burst) + u64::from(requests) * seconds;
                let error = passed.abs_diff(due) * 1000 / due;
                // What gateways do not know of each other for a talk and a round trip can pass at once, and is paid back.
                assert!(
                    error <= 50,
                    "{requests}/s {burst}: {passed}, due {due}, {gateways} gateways, seed {seed}"
                );
            }
        }
    }
}
