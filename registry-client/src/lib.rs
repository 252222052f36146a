//! The client side of the registry: watching what it says and registering with it.
//!
//! All sources look alike from outside: [`source::start`] gives a [`Source`] of [`Event`]s that carry their reasons
//! and their authority, and [`View`] is the pure state machine that turns events into what may be routed. Our registry
//! is watched, a registry that speaks only the five old calls is polled. [`Registrar`] is the other direction.
//!
//! This is the only crate that names reqwest; every other one of the control plane's requests goes through here.

pub mod error;
pub mod event;
pub mod source;
pub mod view;
pub mod registration;
pub mod canary;
pub mod token;
mod poll;
mod http;
mod backoff;

#[cfg(test)]
mod test_data;

pub use canary::{CANARY_SERVICE, Canary, CanaryConfig, CanaryState, canary_number, is_canary};
pub use error::SourceError;
pub use event::{Authority, Event, Reject, SetChange, SourceKind};
pub use http::Answer;
pub use registration::{Phase, Registrar, RegistrarConfig, RegistrarState, RegistryKind};
pub use source::report::Report;
pub use source::{Source, SourceConfig};
pub use token::Token;
pub use view::{Hold, HoldEnd, HoldReason, Known, Released, SeenInstance, SeenService, SourceStatus, View};
