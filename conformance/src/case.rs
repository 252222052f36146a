//! What every case has, whatever its protocol, and what comes of running it.

/// How much a failure weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// A MUST or MUST NOT of the RFC.
    Must,
    /// A SHOULD of the RFC: there may be a reason.
    Should,
    /// Our own rule, stricter than the RFC: a peer that fails it violates nothing.
    Ours,
}

impl Level {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Ours => "ours",
        }
    }
}

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// What was expected, and what came.
    Failed {
        expected: String,
        came: String,
    },
    /// It does not apply to this target, and why.
    Skipped(String),
}

/// A case with its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// `h1`, `h2c`, `h2`: the protocol, and with it the column's part.
    pub(crate) suite: &'static str,
    pub(crate) id: String,
    /// `RFC 9112 5.1`, or the row of the hardening list.
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    pub(crate) verdict: Verdict,
}

impl Outcome {
    pub(crate) fn failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}
