//! What the whole-system tests are made of: the real programs as child processes, stub services, a fake of the original
//! registry, HTTP clients, and the checker of the edges between crates and modules.
//!
//! The tests themselves are in `tests/`, one behaviour per file. Ports are always 0, waiting is always for a condition
//! and always has a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test equipment: a broken expectation should panic at once, with its place"
)]

pub mod edges;
pub mod echo;
pub mod frames;
pub mod guarded;
pub mod http;
pub mod http2;
pub mod inventory;
pub mod load;
pub mod original_registry;
pub mod process;
pub mod python;
pub mod stub;
pub mod redis_server;
pub mod scripted;
pub mod streamed;
pub mod system;
pub mod tls;
pub mod tokens;
pub mod wait;
