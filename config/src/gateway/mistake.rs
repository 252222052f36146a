//! What is wrong with a configuration, and in which of its three places.

use std::fmt;

use crate::diagnostic::Diagnostic;
use crate::env::EnvError;

/// One mistake. `Display` is one line that says where, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// In the file, with line and column.
    InFile(Diagnostic),
    /// In an environment variable.
    InEnvironment(EnvError),
    /// In a flag of the command line.
    InFlag {
        /// With its dashes: `--registry`.
        flag: &'static str,
        /// As it was given.
        value: String,
        /// The rule that it breaks.
        rule: String,
    },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFile(diagnostic) => diagnostic.fmt(f),
            Self::InEnvironment(error) => error.fmt(f),
            Self::InFlag { flag, value, rule } => write!(f, "flag {flag} {value}: {rule}"),
        }
    }
}

impl std::error::Error for Mistake {}
