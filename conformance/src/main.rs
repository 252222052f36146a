//! Does a gateway do what the RFCs say? Raw bytes in, and the bytes that the service and the client see out; the same cases
//! against ours and against any other.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "test equipment: it blocks, reads the clock, and a broken expectation should stop it at once"
)]

mod case;
mod wire;
mod tls;
mod upstream;
mod h1;
mod h2;
mod peers;
mod deviations;
mod hardening;
mod report;
mod compare;
mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().unwrap_or_else(|error| {
        eprintln!("conformance: {error}");
        ExitCode::from(2)
    })
}
