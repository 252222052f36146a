//! An instance that is served although its source does not name it: why, since when, and how that ends.

use tokio::time::Instant;

use super::{CONFIRM_AFTER, HOLD_LIMIT};

/// Why an instance that the source does not name is still served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldReason {
    /// A whole read of the history that it was known in lacks it; a second one has to agree.
    Missing,
    /// The registry says of itself that it is not serving normally.
    NotServing,
    /// The registry started a new history: it may not have heard of the instance yet.
    NewEpoch,
    /// The registry has no history: its absence of a record proves nothing.
    NoHistory,
    /// Its lease ran out together with too many others.
    Expired,
    /// It is known from the disk only: no source has named it since this process started.
    LastKnownGood,
}

impl HoldReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::NotServing,
        Self::NewEpoch,
        Self::NoHistory,
        Self::Expired,
        Self::LastKnownGood,
    ];

    /// A word for people and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotServing => "not_serving",
            Self::NewEpoch => "new_epoch",
            Self::NoHistory => "no_history",
            Self::Expired => "expired",
            Self::LastKnownGood => "last_known_good",
        }
    }
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldEnd {
    /// The source named the instance again.
    NamedAgain,
    /// Another instance of the service has its URL now.
    Superseded,
    /// The source removed it and said why.
    Removed,
    /// A second, independent read lacks it too.
    Confirmed,
    /// It does not answer its probes.
    ProbesFailed,
    /// Its time was over and its last probe had no answer.
    TimeOver,
    /// Its time was over and it answers: it stays, marked stale. Ends once more when it goes or is named again.
    MarkedStale,
    /// An operator let it go.
    Released,
}

impl HoldEnd {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NamedAgain,
        Self::Superseded,
        Self::Removed,
        Self::Confirmed,
        Self::ProbesFailed,
        Self::TimeOver,
        Self::MarkedStale,
        Self::Released,
    ];

    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NamedAgain => "named_again",
            Self::Superseded => "superseded",
            Self::Removed => "removed",
            Self::Confirmed => "confirmed",
            Self::ProbesFailed => "probes_failed",
            Self::TimeOver => "time_over",
            Self::MarkedStale => "marked_stale",
            Self::Released => "released",
        }
    }
}

/// The state of a held instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// Since when.
    pub since: Instant,
    /// When the source last vouched for it.
    pub last_proof: Instant,
    /// Over [`HOLD_LIMIT`], and kept because it answers its probes.
    pub stale: bool,
    /// A second read agreed, and the guard against mass removal keeps it.
    pub confirmed: bool,
    /// What the last probe said, `None` before the first.
    pub last_probe: Option<bool>,
    /// Failed probes in a row.
    pub(super) failures: u8,
    /// The read that began its absence, or made it worse.
    pub(super) absent_since: Instant,
}

impl Hold {
    pub(super) fn new(reason: HoldReason, last_proof: Instant, now: Instant) -> Self {
        Self {
            reason,
            since: now,
            last_proof,
            stale: false,
            confirmed: false,
            last_probe: None,
            failures: 0,
            absent_since: now,
        }
    }

    /// When it ends at the latest; a stale one is over its time already.
    pub fn ends(&self) -> Option<Instant> {
        (!self.stale).then(|| self.since + HOLD_LIMIT)
    }

    /// Whether a second read is wanted now.
    pub(super) fn wants_read(&self, now: Instant) -> bool {
        matches!(self.reason, HoldReason::Missing | HoldReason::NotServing)
            && !self.stale
            && !self.confirmed
            && now.saturating_duration_since(self.absent_since) >= CONFIRM_AFTER
    }

    /// Takes in that one more whole read lacks it, where the absence of an instance that is not held would mean
    /// `meaning`.
    pub(super) fn absent_again(&mut self, meaning: HoldReason, now: Instant) -> Absence {
        use HoldReason::{Expired, LastKnownGood, Missing, NewEpoch, NoHistory, NotServing};
        if self.stale {
            return Absence::Same;
        }
        match (self.reason, meaning) {
            (Missing | NotServing, Missing)
                if now.saturating_duration_since(self.absent_since) >= CONFIRM_AFTER =>
            {
                self.confirmed = true;
                Absence::Confirmed
            }
            // What one history dropped is proven by that history only, and what the disk says is old news now.
            (Missing | NotServing, NewEpoch | NoHistory)
            | (LastKnownGood, Missing | NotServing | NewEpoch | NoHistory) => {
                self.reason = meaning;
                self.absent_since = now;
                self.confirmed = false;
                Absence::OtherReason
            }
            (Missing | NotServing, Missing | NotServing | Expired | LastKnownGood)
            | (NewEpoch | NoHistory | Expired, _)
            | (LastKnownGood, Expired | LastKnownGood) => Absence::Same,
        }
    }
}

/// What one more read without it means for a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Nothing new.
    Same,
    /// It is held for another reason now.
    OtherReason,
    /// Two independent reads agree.
    Confirmed,
}
