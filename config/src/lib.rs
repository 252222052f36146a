//! Files and environment in, validated plain data out; every mistake at once, each with file, line and column.
//!
//! Two steps, as in ripgrep: what was said (text with positions), then what it means (the `*Config` types here).
//! Nothing else in the workspace reads the environment.

pub mod env;
pub mod secret;
pub mod diagnostic;
pub mod place;
pub mod keys;
mod suggest;
mod reader;
mod values;
pub mod redis_address;
pub mod gateway;
pub mod registry;
pub mod sidecar;

pub use env::Env;
pub use place::{Place, Placed};
pub use secret::Secret;
