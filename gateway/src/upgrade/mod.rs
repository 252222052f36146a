//! Another process in the place of this one, with the same listening sockets: nobody who connects notices.
//!
//! ```text
//! the new one                                   the running one
//!   connects to the upgrade socket   ------->     (same user? nothing else under way?)
//!   takes the sockets                <-------     copies of all listening sockets, the upgrade socket among them
//!   starts, waits until it is ready                serves as ever
//!   accepts, says that it does       ------->     stops accepting, drains, ends
//! ```
//!
//! Until the last step the running one has lost nothing: whatever goes wrong before, it goes on. The sockets are copied,
//! never closed and bound again, so what waits in an accept queue is served by one of the two.
//!
//! [`socket`] is where the running one listens, [`hand_over`] its side of the talk, [`take_over`] the other, [`packet`] what
//! they speak. [`inherited`] says which listener gets which socket, also those of a service manager ([`activation`]), which
//! [`notify`] tells who is who.

pub mod activation;
pub mod command;
pub mod hand_over;
pub mod inherited;
pub mod notify;
pub mod packet;
pub mod socket;
pub mod take_over;

use std::time::Duration;

/// For a new process to become ready; a registry that is away longer than this is no time for an upgrade.
pub const READY_WITHIN: Duration = Duration::from_secs(30);

/// For the running process to wait for that: longer, so that the new one is the one that says why.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// For one answer of the other side.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
