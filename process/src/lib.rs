//! What each of our processes has: a clock, logging, signals, shutdown, readiness, named tasks, and the small HTTP
//! servers of the control side (the registry's API, admin listeners). Nothing of this is on the request path.

pub mod clock;
pub mod logging;
pub mod signals;
pub mod shutdown;
pub mod readiness;
pub mod tasks;
pub mod http_server;
pub mod answer;
pub mod admin;
