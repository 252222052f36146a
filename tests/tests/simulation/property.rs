//! What must hold, and how a violation is told.

use std::fmt;

/// The ten properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Equal positions have equal digests, and a digest is that of its set.
    P1,
    /// An instance whose beats arrive is never removed for expiry, nor marked stale.
    P2,
    /// A dead one is gone within its bound.
    P3,
    /// After a barrier that reported all applied, no gateway that it counted can choose the instance.
    P4,
    /// A lower generation never wins.
    P5,
    /// Revisions never go back in an epoch.
    P6,
    /// One principal cannot hurt another.
    P7,
    /// What lives and was not removed by the registry's word stays in every table.
    P8,
    /// What was removed by its owner's word is out of the table at once; a service without any has nobody to choose.
    P9,
    /// Preservation always ends.
    P10,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub property: Property,
    pub what: String,
}

impl Violation {
    pub fn of<T>(property: Property, what: impl fmt::Display) -> Result<T, Self> {
        Err(Self { property, what: what.to_string() })
    }
}

/// Where a run ended that should not have, with what is needed to look into it.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub replicas: bool,
    pub step: u64,
    pub violation: Violation,
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, replicas, step, violation, trace } = self;
        let mode = if *replicas { " --replicas" } else { "" };
        writeln!(f, "the last events:")?;
        for line in trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {seed}, step {step}: {:?} does not hold: {}", violation.property, violation.what)?;
        write!(f, "again: VERTICE_SEED={seed} cargo xtask simulate{mode} --steps {}", step + 1)
    }
}

/// A defect put in on purpose, to see that a property notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// P1: one change of an answer is lost, and the digest is made to fit.
    LosesChange,
    /// P2: heartbeats are answered with yes and forgotten.
    ForgetsBeats,
    /// P3: nothing runs out any more.
    NeverExpires,
    /// P4: gateways acknowledge before they apply.
    AcksTooEarly,
    /// P5: generations are not looked at.
    AcceptsOldGenerations,
    /// P6: a registry that lost its last second goes on in the same epoch.
    KeepsEpoch,
    /// P7: nobody asks whose token it is.
    IgnoresTokens,
    /// P8: what a whole read lacks is taken for removed.
    BelievesAbsence,
    /// P9: gateways do not take out what was removed.
    KeepsRemoved,
    /// P10: nothing but a restart or an operator ends preservation.
    NeverEndsPreservation,
    /// P5, with replicas: who takes a record over gets a generation below that of the one before.
    DrawsLowGenerations,
}

impl Sabotage {
    /// The kind of fault (see `World::fault`) that brings it out, where chance alone would take long.
    pub fn brought_out_by(self) -> Option<u32> {
        match self {
            Self::KeepsEpoch | Self::BelievesAbsence => Some(4),
            Self::AcceptsOldGenerations => Some(6),
            Self::AcksTooEarly | Self::KeepsRemoved => Some(10),
            Self::IgnoresTokens => Some(16),
            Self::LosesChange | Self::ForgetsBeats | Self::NeverExpires => None,
            Self::NeverEndsPreservation | Self::DrawsLowGenerations => None,
        }
    }

    /// The same among the faults of replicas (see `World::fleet_fault`).
    pub fn brought_out_among_replicas_by(self) -> Option<u32> {
        match self {
            Self::KeepsEpoch | Self::BelievesAbsence => Some(6),
            _ => None,
        }
    }
}
