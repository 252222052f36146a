//! Where in a registry's history something stands: epoch and revision, and what the registry says of itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::RuleError;

/// Changes whenever the server cannot vouch that a revision still means what it meant. 32 hex digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch(pub u128);

/// Goes up by one per change within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A point in one registry's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Of which history.
    pub epoch: Epoch,
    /// How far into it.
    pub revision: Revision,
}

/// What a registry says of itself. Only a *serving* one may remove by absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Just started: who is missing may simply not have come back yet.
    Warming,
    /// Normal.
    Serving,
    /// Too many leases ran out at once: nothing is removed for expiry.
    Preserving,
    /// The store behind it is away: it serves from memory and removes nothing.
    Degraded,
}

impl fmt::Display for SourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warming => "warming",
            Self::Serving => "serving",
            Self::Preserving => "preserving",
            Self::Degraded => "degraded",
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| RuleError("an epoch is 32 hexadecimal digits".into()))
    }
}

impl TryFrom<String> for Epoch {
    type Error = RuleError;
    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> String {
        epoch.to_string()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    /// `E-R`, the form of an SSE event id and of an ETag's inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.revision)
    }
}

impl FromStr for Position {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError("a position is EPOCH-REVISION".into());
        let (epoch, revision) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Self { epoch: epoch.parse()?, revision: Revision(revision.parse().map_err(|_| wrong())?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_text_round_trips_and_refuses_junk() {
        let position = Position { epoch: Epoch(0xab), revision: Revision(7) };
        assert_eq!(position.to_string().parse(), Ok(position));
        for bad in
            ["", "-", "ab-7", "000000000000000000000000000000ab-", "000000000000000000000000000000ab--1"]
        {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
