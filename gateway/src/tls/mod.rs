//! HTTPS at a listener: certificates by name, handshakes with a deadline, and who the client proved to be.
//!
//! A [`ListenerTls`] is one listener's; all workers share it. What is inside is swapped whole when files change; a
//! connection keeps what it began with.

pub mod certificates;
pub mod load;
pub mod listener;
pub mod handshake;
pub mod identity;
pub mod stats;

pub use handshake::{Secured, Security};
pub use listener::{ListenerTls, TlsListeners};
pub use stats::HandshakeFailure;
