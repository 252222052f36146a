//! Which endpoints answer: the gateway's own word, beside the registry's.
//!
//! One task asks every endpoint ([`check`], when is decided by [`schedule`]) and hears from the workers what came of
//! requests ([`report`]); [`group`] decides, purely, what that means for a service; [`driver`] writes the decisions into
//! each endpoint's [`state`], which is all that a request reads.

pub mod verdict;
pub mod state;
pub mod report;
pub mod group;
pub mod outlier;
pub mod schedule;
pub mod check;
pub mod grpc;
pub mod silence;
pub mod stats;
pub mod log;
pub mod driver;

pub use driver::Probed;
pub use report::{Reporter, Testimony};
pub use state::{EndpointHealth, Share};
pub use stats::HealthStats;
