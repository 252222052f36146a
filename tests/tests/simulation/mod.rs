//! A registry, 200 sidecars and 20 gateways in one thread without time, network or disk: the real decisions, a modelled
//! wire, and faults. `docs/simulation.md` tells what it is for.
#![allow(
    unreachable_pub,
    reason = "a module of two targets, a test and an example: nothing in it is reached from outside"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::wildcard_enum_match_arm,
    clippy::unchecked_time_subtraction,
    clippy::match_same_arms,
    clippy::too_many_lines,
    clippy::too_many_arguments,
    reason = "test equipment: a broken expectation should panic, and what is not meant is all the rest"
)]

mod fault;
mod gateway;
mod gateway_checks;
mod history;
mod network;
mod options;
mod property;
mod queue;
mod registry;
mod replicas;
mod sidecar;
mod truth;
mod turn;
mod world;

pub use options::{Options, Story, Summary};
pub use property::{Failure, Property, Sabotage};
pub use replicas::{Real, recorded};
pub use world::run;
