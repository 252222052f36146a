//! From what the registry says to the table that requests are answered from.
//!
//! One task: events go through the [`View`](vertice_registry_client::View), which decides what absence means; what
//! changed is compiled into the next table, which is published. Requests and discovery meet only there.

pub mod run;
pub mod update;
pub mod applied;
pub mod stale;
pub mod release;
pub mod order;
pub mod canary;
pub mod findings;
pub mod last_known_good;
