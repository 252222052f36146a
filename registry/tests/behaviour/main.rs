//! The registry from outside, over HTTP, one behaviour per file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::missing_docs_in_private_items,
    reason = "tests stop at the first surprise"
)]

mod support;
mod old_calls;
mod instances;
mod heartbeats;
mod snapshot;
mod watch;
mod stream;
mod barrier;
mod leases;
mod preservation;
mod rejects;
mod operator;
mod tokens;
mod bad_input;
