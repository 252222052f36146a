//! Listening sockets: one per worker and address, shared by SO_REUSEPORT, and who takes a new connection.

pub mod socket;
pub mod unix;
pub mod bind;
pub mod census;
pub mod entrance;
pub mod proxy_protocol;
pub mod accept;
pub mod open;
