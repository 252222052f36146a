//! Several registries on one modelled Redis, beside the same sidecars and gateways. What replicas do is the code of
//! `registry::redis` as it is, with its tasks, deadlines and scripts; the Redis, its wire and the time are ours.

mod cluster;
mod data;
mod executor;
mod fault;
mod line;
mod lua;
mod play;
mod real;
mod replica;
mod shared;

pub use fault::Turn;
pub use play::{play, recorded};
pub use real::Real;
pub use replica::Replicas;
