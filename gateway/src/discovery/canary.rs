//! Proof that the watch lives: a number that we write into the registry has to come back over the watch.
//!
//! A watch that is silent looks like a registry in which nothing happens. [`Beat`] is the pure part; [`CanaryDriver`]
//! writes, and keeps every gateway's canary out of the view and so out of the table.

use std::time::Duration;

use tokio::time::Instant;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::InstanceId;
use vertice_registry_client::{
    Canary, CanaryConfig, CanaryState, Event, SetChange, canary_number, is_canary,
};

use crate::table::CanaryProof;

/// Between two numbers. A change for every reader of the registry: not oftener than it helps.
const INTERVAL: Duration = Duration::from_secs(10);
/// A number that is not back after this many intervals does not come.
const PATIENCE: u32 = 2;
/// For the goodbye.
const REMOVE_LIMIT: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Write this number.
    Write(u64),
    /// Read anew, over a new connection.
    Resync {
        /// The registry has the number and the watch did not bring it. Else it did not even take the number: it may be gone,
        /// and a watch that is silent does not say so.
        deaf: bool,
    },
}

/// Numbers written and seen. Pure.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    number: u64,
    /// The number under way.
    sent: Option<(u64, Instant)>,
    next: Option<Instant>,
    /// When a number last came back.
    pub back: Option<Instant>,
    /// How long the last one took.
    pub round_trip: Option<Duration>,
    /// How often one did not come back.
    pub deaf: u64,
}

impl Beat {
    /// What is to be done at `now`. `written`: the last number that the registry took. Without `watching` nothing can come
    /// back.
    pub fn pulse(&mut self, written: Option<u64>, watching: bool, now: Instant) -> Step {
        if !watching {
            self.sent = None;
            return Step::Wait;
        }
        match self.sent {
            Some((_, at)) if now.saturating_duration_since(at) < INTERVAL * PATIENCE => return Step::Wait,
            Some((number, _)) => {
                let deaf = written == Some(number);
                self.deaf += u64::from(deaf);
                (self.sent, self.next) = (None, Some(now + INTERVAL));
                return Step::Resync { deaf };
            }
            None if self.next.is_some_and(|next| now < next) => return Step::Wait,
            None => {}
        }
        self.number += 1;
        self.sent = Some((self.number, now));
        self.next = Some(now + INTERVAL);
        Step::Write(self.number)
    }

    /// Nothing is under way any more: the next number is due.
    fn begin_again(&mut self) {
        (self.sent, self.next) = (None, None);
    }

    /// `number` came over the watch.
    pub fn came_back(&mut self, number: u64, now: Instant) {
        if let Some((_, at)) = self.sent.filter(|(sent, _)| *sent == number) {
            self.sent = None;
            self.back = Some(now);
            self.round_trip = Some(now.saturating_duration_since(at));
        }
    }
}

/// The canary of this gateway.
pub struct CanaryDriver {
    config: CanaryConfig,
    id: InstanceId,
    writer: Option<Canary>,
    beat: Beat,
    refused: bool,
}

impl CanaryDriver {
    /// Starts nothing before the registry turns out to be one that can be watched.
    pub fn new(config: CanaryConfig) -> Self {
        let id = config.id.clone();
        Self { config, id, writer: None, beat: Beat::default(), refused: false }
    }

    /// Takes every canary out of `event`; notes ours.
    pub fn take_out(&mut self, event: &mut Event, now: Instant) {
        match event {
            Event::Replaced { instances, unread, .. } => {
                // That a snapshot has the number says nothing about the watch.
                instances.retain(|instance| !is_canary(&instance.service));
                unread.retain(|name| !is_canary(name));
            }
            Event::Changed { changes, .. } => changes.retain(|change| match change {
                SetChange::Upsert(instance) => {
                    if instance.instance_id == self.id
                        && let Some(number) = canary_number(instance)
                    {
                        self.beat.came_back(number, now);
                    }
                    !is_canary(&instance.service)
                }
                SetChange::Removed { service, .. } => !is_canary(service),
            }),
            Event::Identified(_) | Event::Alive { .. } | Event::Rejected { .. } | Event::Failed { .. } => {}
        }
    }

    /// Call it every second. Whether the watch proves nothing any more, so that the source has to be read anew.
    pub fn pulse(&mut self, watching: bool, now: Instant) -> bool {
        let state = self.writer.as_ref().map(Canary::state).unwrap_or_default();
        let written = match state {
            CanaryState::Written(number) => Some(number),
            CanaryState::Refused(words) => {
                tracing::warn!(
                    %words,
                    "the registry does not let this gateway write its canary; whether the watch lives is not proven"
                );
                (self.writer, self.refused) = (None, true);
                return false;
            }
            CanaryState::Idle | CanaryState::Failed(_) => None,
        };
        if self.refused {
            return false;
        }
        match self.beat.pulse(written, watching, now) {
            Step::Wait => false,
            Step::Write(number) => {
                self.writer.get_or_insert_with(|| Canary::start(self.config.clone())).write(number);
                false
            }
            Step::Resync { deaf: true } => {
                tracing::warn!("the registry has our canary and the watch does not bring it: reading anew");
                true
            }
            Step::Resync { deaf: false } => {
                tracing::warn!(
                    "the registry does not take our canary: reading anew, to see whether it is there"
                );
                true
            }
        }
    }

    /// The registry is shown another token: who was refused tries again.
    pub fn try_again(&mut self) {
        if std::mem::take(&mut self.refused) {
            self.beat.begin_again();
        }
    }

    /// For status pages.
    pub fn shown(&self) -> CanaryProof {
        let state = match (self.refused, &self.writer, self.beat.back) {
            (true, ..) => "refused",
            (false, None, _) => "off",
            (false, Some(_), None) => "waiting",
            (false, Some(_), Some(_)) => "proven",
        };
        let Beat { back, round_trip, deaf, .. } = self.beat;
        CanaryProof { state, back, round_trip, deaf }
    }

    /// Takes the entry back in the background, and lets the process end then; late, its lease runs out.
    pub fn remove(&mut self, shutdown: Shutdown) {
        self.refused = true;
        if let Some(writer) = self.writer.take() {
            vertice_process::tasks::spawn("canary", async move {
                writer.remove(REMOVE_LIMIT).await;
                drop(shutdown);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_number_every_interval_as_long_as_each_comes_back() {
        let (mut beat, start) = (Beat::default(), Instant::now());
        for n in 0..5 {
            let at = start + n * INTERVAL;
            let number = u64::from(n) + 1;
            assert_eq!(beat.pulse(n.checked_sub(1).map(|_| number - 1), true, at), Step::Write(number));
            assert_eq!(beat.pulse(Some(number), true, at + S), Step::Wait);
            beat.came_back(number, at + S / 4);
            assert_eq!((beat.back, beat.round_trip, beat.deaf), (Some(at + S / 4), Some(S / 4), 0));
        }
    }

    #[test]
    fn a_written_number_that_does_not_come_back_means_a_deaf_watch() {
        let (mut beat, now) = (Beat::default(), Instant::now());
        assert_eq!(beat.pulse(None, true, now), Step::Write(1));
        assert_eq!(beat.pulse(Some(1), true, now + 19 * S), Step::Wait);
        assert_eq!(beat.pulse(Some(1), true, now + 20 * S), Step::Resync { deaf: true });
        // Too late, and not over the watch that is in doubt: it proves nothing.
        beat.came_back(1, now + 21 * S);
        assert_eq!((beat.back, beat.deaf), (None, 1));
        assert_eq!(beat.pulse(Some(1), true, now + 29 * S), Step::Wait);
        assert_eq!(beat.pulse(Some(1), true, now + 30 * S), Step::Write(2));
        beat.came_back(2, now + 31 * S);
        assert_eq!((beat.round_trip, beat.deaf), (Some(S), 1));
    }

    #[test]
    fn a_number_that_was_never_written_says_that_the_registry_may_be_gone_and_nothing_of_the_watch() {
        let (mut beat, now) = (Beat::default(), Instant::now());
        assert_eq!(beat.pulse(None, true, now), Step::Write(1));
        assert_eq!(beat.pulse(None, true, now + 20 * S), Step::Resync { deaf: false });
        assert_eq!(beat.pulse(None, true, now + 29 * S), Step::Wait);
        assert_eq!(beat.pulse(None, true, now + 30 * S), Step::Write(2), "tried again");
        assert_eq!(beat.pulse(Some(1), true, now + 50 * S), Step::Resync { deaf: false });
        assert_eq!(beat.deaf, 0);
    }

    #[test]
    fn nothing_is_expected_while_the_registry_is_away() {
        let (mut beat, now) = (Beat::default(), Instant::now());
        assert_eq!(beat.pulse(None, false, now), Step::Wait);
        assert_eq!(beat.pulse(None, true, now + S), Step::Write(1));
        assert_eq!(beat.pulse(Some(1), false, now + 2 * S), Step::Wait);
        assert_eq!(beat.pulse(Some(1), true, now + 60 * S), Step::Write(2));
        assert_eq!(beat.deaf, 0);
    }
}
