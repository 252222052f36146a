//! Why a policy lets a request go no further, and what the client is told.

use http::StatusCode;

/// Why a request is refused. Closed: [`Refusal::told`] and the metrics list every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {}

impl Refusal {
    /// Status, reason and detail.
    pub fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self {}
    }
}
