//! What requests are answered from: routes, services and endpoints of one generation, immutable.
//!
//! [`compile`](compile::compile) makes the next table from the last one and what changed; [`Published`] hands it to the
//! workers; a request takes one table at its start and uses it to the end. What must survive a swap hangs on what
//! `compile` carries over: an endpoint keeps its [`EndpointId`] and its health as long as service, instance and address
//! stay the same, and a service keeps its [`ServiceStats`].

mod endpoint_url;
mod endpoint;
mod service;
mod services;
pub mod compile;
mod freshness;
mod published;

pub use endpoint::{CheckKind, Endpoint, EndpointId, EndpointSpec, Origin, Protocol};
pub use endpoint_url::EndpointUrl;
pub use freshness::{CanaryProof, Freshness, LastKnownGood};
pub use published::{CachedTable, Published, TableLease};
pub use service::{Doubt, Service, ServiceStats, StatusClass, WorkerStats, add_count};
pub use services::Services;

use std::sync::Arc;

use crate::route::Routes;

/// Routes, services and endpoints of one generation.
#[derive(Debug, Default)]
pub struct Table {
    /// Goes up with every table; 0 is the empty one before the first.
    pub generation: u64,
    /// How requests find their service.
    pub routes: Arc<Routes>,
    /// What a service's name and slot stand for.
    pub services: Services,
}
