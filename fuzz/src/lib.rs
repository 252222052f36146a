//! Fuzzing: every parser of ours and the rules about header fields, fed with mutated input until one panics or breaks a law.
//!
//! No coverage from the compiler, so it runs on the stable toolchain: what steers it instead is what a target says about an
//! input. An input that is refused in words not heard before, or accepted in a new shape, is kept and mutated further.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "test equipment: a law that does not hold should panic at once, with its place"
)]

pub mod corpus;
pub mod mutate;
pub mod run;
pub mod targets;

/// Something that is fed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// What it is fed with, for the reader.
    pub what: &'static str,
    /// Takes an input; what came of it, in words. Panics when a law does not hold.
    pub feed: fn(&[u8]) -> String,
    /// Words that its inputs are made of.
    pub words: &'static [&'static str],
}
