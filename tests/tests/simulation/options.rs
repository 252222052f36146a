//! How a run is made, and what it was like.

use super::property::{Property, Sabotage};

/// How a run is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub seed: u64,
    /// Events after which it is over.
    pub steps: u64,
    pub sabotage: Option<Sabotage>,
    /// Look at this property only.
    pub only: Option<Property>,
    /// Three registries on one Redis instead of one.
    pub replicas: bool,
    pub story: Story,
}

/// What the faults of a run are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Story {
    /// Anything, drawn.
    #[default]
    Anything,
    /// Much falls silent, and more before the first are forgotten, for longer than preservation may last; nobody ends it.
    Silence,
    /// With replicas: half of all falls silent, and Redis is one and the same all the time, but for losing everything.
    OneRedis,
}

/// What a run that found nothing was like; a run in which little happened proves little.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub steps: u64,
    pub seconds: u64,
    pub faults: u64,
    pub promises: u64,
    pub restarts: u64,
    /// Of Redis to another server, or to what a dump has.
    pub failovers: u64,
    pub preservations: u64,
    /// Of them, those that nobody ended: no operator, no restart.
    pub ended: u64,
    /// Of these the longest.
    pub longest_s: u64,
}
