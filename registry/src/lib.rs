//! The registry server: a pure store, and the HTTP API over it. Embedded in the gateway, or alone as
//! `vertice-registry`. The contract is `docs/registry-protocol.md`.

pub mod cli;
mod settings;
mod server;
mod api;
pub mod auth;
pub mod policy;
pub mod store;
mod state;
mod keeper;
mod audit;
pub mod operator;
pub mod redis;

pub use server::{Running, start};
pub use settings::{Settings, StartError};
pub use state::StateError;
