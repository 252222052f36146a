//! The agent beside a service: waits until the service is healthy, registers it, keeps the registration alive, keeps
//! looking at the service's health, and takes the registration back at the end.
//!
//! It never gives up on the registry, and it never stops the service: whatever fails here, traffic that flows goes on.

pub mod flags;
pub mod metadata;
pub mod health;
pub mod probe;
pub mod run;
pub mod admin;
