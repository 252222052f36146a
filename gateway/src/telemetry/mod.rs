//! What people and machines can see of the requests: counters per worker, summed when they are read, and log lines.

pub mod metrics;
pub mod histogram;
pub mod access_log;
pub mod log_writer;
