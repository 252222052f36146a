//! Changing the configuration of a running process: read, judged, and then all of it applied or nothing.
//!
//! [`origin`] reads it again from where it came, [`plan`] says what cannot be changed in a running process, [`state`] is what
//! is shown of it, [`watch`] notices that the file has changed. [`crate::app`] applies it.

pub mod origin;
pub mod plan;
pub mod state;
pub mod watch;

use tokio::sync::oneshot;

/// What an operator asked for over the admin listener.
#[derive(Debug)]
pub struct ReloadOrder {
    /// What came of it.
    pub reply: oneshot::Sender<state::Reloaded>,
}

/// Orders that wait; more are told to come again.
pub const ORDERS: usize = 4;
