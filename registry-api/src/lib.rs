//! The registry's contract: names, instances, snapshots and protocol bodies. Plain data, no I/O, no clock.
//!
//! Whatever enters through here is checked once, at the edge, into types that cannot be wrong
//! ([`ServiceName`], [`InstanceId`], [`ServiceUrl`], [`HealthPath`], [`Metadata`]). The limits are part of the
//! contract and stand in [`limits`]. The prose of the contract is `docs/registry-protocol.md`.

pub mod limits;
pub mod field_error;
pub mod name;
pub mod url;
pub mod address;
pub mod metadata;
pub mod position;
pub mod instance;
pub mod digest;
pub mod register;
pub mod heartbeat;
pub mod snapshot;
pub mod watch;
pub mod legacy;
pub mod barrier;
pub mod probe;
pub mod reject;

pub use field_error::FieldError;
pub use instance::{Instance, Lease, Status};
pub use metadata::Metadata;
pub use name::{HealthPath, InstanceId, ServiceName};
pub use position::{Epoch, Position, Revision, SourceState};
pub use url::{Host, Scheme, ServiceUrl};
