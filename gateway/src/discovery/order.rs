//! What the discovery task is told to do by the process that it is a part of.

use std::fmt;

use tokio::sync::oneshot;
use vertice_config::gateway::WhenStale;

use super::update::Fallbacks;
use crate::route::Routes;
use crate::table::Services;
use crate::table::compile::Fixed;

/// Orders that wait: there is one at a time.
pub const QUEUE: usize = 2;

/// An order.
#[derive(Debug)]
pub enum Order {
    /// Another configuration.
    Reconfigure(Box<Reconfigure>),
    /// Another process keeps the last known good from now on.
    StopKeeping,
}

/// What of another configuration concerns tables.
pub struct Reconfigure {
    /// What no table changes.
    pub fixed: Fixed,
    /// Where services are that the registry does not know.
    pub fallbacks: Fallbacks,
    /// What happens to requests once a service's truth is too old.
    pub when_stale: WhenStale,
    /// The registry is shown another token.
    pub new_token: bool,
    /// Compiles the routes, given the services with their slots.
    pub routes: Box<dyn FnOnce(&Services) -> Routes + Send>,
    /// Told when the table is published.
    pub applied: oneshot::Sender<()>,
}

impl fmt::Debug for Reconfigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconfigure").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}
