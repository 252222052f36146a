//! What workers tell of the attempts they made.

use tokio::sync::mpsc::{Receiver, Sender, channel};
use vertice_config::gateway::HealthConfig;

use crate::table::Endpoint;

/// Endpoints that wait to be looked at. A full queue loses nothing: the next failure of the same endpoint tells again.
const NOTICES: usize = 1024;

/// What came of one attempt, as far as the endpoint is to praise or to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// Any answer but 502, 503 and 504.
    Answered,
    /// One of these, or no answer, or none in time.
    Failed,
    /// No connection.
    NotConnected,
}

/// Where workers tell it.
#[derive(Clone, Debug)]
pub struct Reporter {
    notices: Sender<u64>,
    connect_failures: u32,
    errors: u32,
}

impl Reporter {
    /// The end for the workers, and the one at which endpoints that have to be looked at come out, by serial.
    pub fn new(rules: &HealthConfig) -> (Self, Receiver<u64>) {
        let (notices, receiver) = channel(NOTICES);
        (Self { notices, connect_failures: 0, errors: 0 }.under(rules), receiver)
    }

    /// The same end under other rules.
    #[must_use]
    pub fn under(&self, rules: &HealthConfig) -> Self {
        // 0 is "never".
        let limit = |limit: u32| if limit == 0 { u32::MAX } else { limit };
        Self {
            notices: self.notices.clone(),
            connect_failures: limit(rules.eject_after_connect_failures),
            errors: limit(rules.eject_after_errors),
        }
    }

    /// Takes the testimony of an attempt at `endpoint` in. A success costs three loads, unless it follows a failure.
    pub fn tell(&self, endpoint: &Endpoint, testimony: Testimony) {
        let health = &endpoint.health;
        let due = match testimony {
            Testimony::Answered => health.answered_well(),
            Testimony::Failed => health.answered_badly() >= self.errors || health.is_on_trial(),
            Testimony::NotConnected => {
                health.not_connected() >= self.connect_failures || health.is_on_trial()
            }
        };
        if due && health.wants_notice() && self.notices.try_send(endpoint.id.serial).is_err() {
            health.notice_over();
        }
    }
}
