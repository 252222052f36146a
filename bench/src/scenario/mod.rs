//! One file per thing that is measured.

pub(crate) mod cpu;
pub(crate) mod propagation;
pub(crate) mod swap;
pub(crate) mod changes;
pub(crate) mod sidecar_rss;
pub(crate) mod outage;
pub(crate) mod restart;
pub(crate) mod million;
pub(crate) mod watchers;
pub(crate) mod failover;
pub(crate) mod rolling;
pub(crate) mod slow;
pub(crate) mod policies;
