//! Why a source said nothing that could be used: what failed, whose fault it is, what to do.

use std::fmt;
use std::time::Duration;

/// A request to the registry that gave nothing usable. Whatever was known before stays known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The HTTP client could not be built (no usable TLS roots).
    Client(String),
    /// No connection, or it broke before an answer.
    Connect(String),
    /// No answer in time.
    Timeout(Duration),
    /// A status that the contract does not have here.
    Status(u16),
    /// A 200 whose body is something else: a login page, another server.
    NotOurs {
        /// What the answer said it is.
        content_type: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer ended before its end.
    Truncated(String),
    /// The content does not have the digest that the registry gave for it.
    Digest,
    /// A change that does not follow on what is known.
    Gap {
        /// The revision known here.
        known: u64,
        /// The revision that the answer starts from.
        from: u64,
    },
    /// A snapshot of an earlier moment of the same history: of a replica that has not followed that far.
    Behind {
        /// The revision known here.
        known: u64,
        /// The revision of the snapshot.
        read: u64,
    },
    /// An answer over this many bytes.
    TooLarge(u64),
}

impl SourceError {
    /// Every kind of failure in one word, for counters.
    pub const KINDS: [&'static str; 10] = [
        "client",
        "connect",
        "timeout",
        "status",
        "not_ours",
        "truncated",
        "digest",
        "gap",
        "behind",
        "too_large",
    ];

    /// Which of [`Self::KINDS`] it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(_) => "client",
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::NotOurs { .. } => "not_ours",
            Self::Truncated(_) => "truncated",
            Self::Digest => "digest",
            Self::Gap { .. } => "gap",
            Self::Behind { .. } => "behind",
            Self::TooLarge(_) => "too_large",
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(reason) => {
                write!(f, "no HTTP client can be made here ({reason}): check the CA certificates of this host")
            }
            Self::Connect(reason) => {
                write!(f, "the registry cannot be reached ({reason}): check that it runs, and its URL")
            }
            Self::Timeout(limit) => write!(
                f,
                "the registry did not answer within {:.1} s: it or the network is overloaded or hangs",
                limit.as_secs_f64()
            ),
            Self::Status(status @ (401 | 403)) => {
                write!(f, "the registry refused the token (status {status}): check the token given here")
            }
            Self::Status(status @ 500..) => {
                write!(f, "the registry or a proxy before it failed (status {status}): see its log")
            }
            Self::Status(status) => write!(
                f,
                "status {status} is no answer of a registry: check that the URL is the registry's"
            ),
            Self::NotOurs { content_type, reason } => write!(
                f,
                "the answer is not a registry's ({content_type}; {reason}): check that the URL is the registry's"
            ),
            Self::Truncated(reason) => {
                write!(f, "the registry's answer was cut off ({reason}): look at proxies between here and there")
            }
            Self::Digest => f.write_str(
                "the registry's digest is not that of what it sent: taking a new snapshot; if this repeats it is a \
                 defect, please report it",
            ),
            Self::Gap { known, from } => write!(
                f,
                "the registry continued at revision {from}, {known} is known here: taking a new snapshot"
            ),
            Self::Behind { known, read } => write!(
                f,
                "the registry is at revision {read}, {known} of the same history is known here: it is a replica that is \
                 behind or cut off from the others; what is known stays until one answers that is not"
            ),
            Self::TooLarge(limit) => {
                write!(f, "the registry's answer is larger than {limit} bytes, the most that is read")
            }
        }
    }
}

impl std::error::Error for SourceError {}
