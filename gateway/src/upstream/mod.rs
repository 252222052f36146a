//! Talking to endpoints: connections kept per worker, each driven inside the task of the request that uses it.
//!
//! [`send::send`] is one attempt at one endpoint. Which endpoint, and whether there is another attempt, is not decided
//! here.

pub mod address_policy;
pub mod error;
pub mod request_body;
pub mod io;
pub mod tls;
pub mod connection;
pub mod shared;
pub mod translate;
pub mod connect;
pub mod pool;
pub mod response_body;
mod attempt;
mod send_http2;
mod send_upgrade;
pub mod send;

pub use address_policy::AddressPolicy;
pub use error::{AttemptError, Failure};
pub use pool::{InFlight, Pool};
pub use request_body::RequestBody;
pub use response_body::ResponseBody;
pub use tls::{EndpointTls, UpstreamTls};
