//! When something is due of a registration: tries to get it, heartbeats and updates once it stands, and the pauses
//! after each failure. Pure: `now` and the random unit come from outside.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, spread};
use crate::registration::judge::{Beat, Granted};

/// Tries to register: the original's pauses.
const REGISTER_RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
/// Missed heartbeats: four tries fit into the lease's grace.
const BEAT_RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
/// After a refusal: someone must change something first.
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_mins(1);
const RETRY_SPREAD: f64 = 0.25;
const BEAT_SPREAD: f64 = 0.1;

/// The pauses between tries that failed.
#[derive(Clone, Copy, Debug)]
pub struct TriesState(Backoff);

impl TriesState {
    /// Before the first.
    pub fn new() -> Self {
        Self(REGISTER_RETRY)
    }

    /// The pause after one more; `refused`: the server understood and said no. `unit` is drawn from 0..1.
    pub fn after(&mut self, refused: bool, unit: f64) -> Duration {
        spread(if refused { REFUSED_PAUSE } else { self.0.next() }, RETRY_SPREAD, unit)
    }
}

impl Default for TriesState {
    fn default() -> Self {
        Self::new()
    }
}

/// What is due of a registration that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A heartbeat. It goes first if both are due.
    Beat,
    /// To tell what is wanted now.
    Update,
}

/// The pace of a registration that stands.
#[derive(Clone, Copy, Debug)]
pub struct PaceState {
    interval: Duration,
    beat_due: Instant,
    beat_backoff: Backoff,
    update_due: Option<Instant>,
    update_tries: TriesState,
}

impl PaceState {
    /// From a grant at `now` on. `own` is the interval that the operator wants, whatever the server asks for.
    pub fn new(granted: &Granted, own: Option<Duration>, now: Instant, unit: f64) -> Self {
        let interval = own.or(granted.interval).unwrap_or(granted.ttl / 3);
        Self {
            interval,
            beat_due: now + spread(interval, BEAT_SPREAD, unit),
            beat_backoff: BEAT_RETRY,
            update_due: None,
            update_tries: TriesState::new(),
        }
    }

    /// The pause between heartbeats that arrive.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When something is due.
    pub fn next(&self) -> Instant {
        self.update_due.map_or(self.beat_due, |update| update.min(self.beat_due))
    }

    /// What is due then.
    pub fn due(&self, now: Instant) -> Due {
        if self.beat_due <= now { Due::Beat } else { Due::Update }
    }

    /// Whether something is to be told that has not been.
    pub fn is_updating(&self) -> bool {
        self.update_due.is_some()
    }

    /// Something else is wanted. An update that failed keeps its pause.
    pub fn changed(&mut self, now: Instant) {
        self.update_due.get_or_insert(now);
    }

    /// An update did not get through.
    pub fn update_failed(&mut self, refused: bool, now: Instant, unit: f64) {
        self.update_due = Some(now + self.update_tries.after(refused, unit));
    }

    /// What became of a heartbeat. `Some`: the registration is lost, to be made again after this pause.
    pub fn beaten(&mut self, beat: &Beat, now: Instant, unit: f64) -> Option<Duration> {
        let pause = match beat {
            Beat::Renewed => {
                self.beat_backoff.reset();
                spread(self.interval, BEAT_SPREAD, unit)
            }
            // The server asks for a pause that spreads a herd: anywhere in it will do.
            Beat::Lost { within, words: _ } => return Some(within.mul_f64(unit)),
            Beat::Refused(_) => spread(REFUSED_PAUSE.min(self.interval), BEAT_SPREAD, unit),
            Beat::Failed(_) => spread(self.beat_backoff.next().min(self.interval), RETRY_SPREAD, unit),
        };
        self.beat_due = now + pause;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::judge::RegistryKind;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn granted(interval: Option<Duration>) -> Granted {
        Granted { kind: RegistryKind::Ours, generation: 1, ttl: S(60), interval }
    }

    #[test]
    fn the_operators_interval_wins_then_the_servers_then_a_third_of_the_lease() {
        let now = Instant::now();
        for (own, servers, expected) in
            [(Some(S(7)), Some(S(10)), 7), (None, Some(S(10)), 10), (None, None, 20)]
        {
            let pace = PaceState::new(&granted(servers), own, now, 0.5);
            assert_eq!((pace.interval(), pace.next()), (S(expected), now + S(expected)));
        }
    }

    #[test]
    fn four_tries_of_a_missed_heartbeat_fit_into_the_grace() {
        let now = Instant::now();
        let mut pace = PaceState::new(&granted(None), None, now, 0.5);
        let mut pauses = Vec::new();
        let mut at = pace.next();
        for _ in 0..6 {
            assert_eq!(pace.beaten(&Beat::Failed(String::new()), at, 0.5), None);
            pauses.push((pace.next() - at).as_secs());
            at = pace.next();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
        assert_eq!(pace.beaten(&Beat::Renewed, at, 0.5), None);
        assert_eq!(pace.next(), at + S(20));
        assert_eq!(pace.beaten(&Beat::Failed(String::new()), at, 0.5), None);
        assert_eq!(pace.next(), at + S(1), "the next failure begins anew");
    }

    #[test]
    fn a_heartbeat_goes_before_an_update_and_a_change_does_not_hurry_an_update_that_failed() {
        let now = Instant::now();
        let mut pace = PaceState::new(&granted(None), None, now, 0.5);
        pace.changed(now + S(1));
        assert_eq!((pace.next(), pace.due(now + S(1))), (now + S(1), Due::Update));
        assert_eq!(pace.due(now + S(20)), Due::Beat);
        pace.update_failed(false, now + S(1), 0.5);
        pace.changed(now + S(1));
        assert_eq!(pace.next(), now + S(2));
        pace.update_failed(true, now + S(2), 0.5);
        assert_eq!(pace.next(), now + S(20), "a refusal waits for a minute, the heartbeat does not");
    }
}
