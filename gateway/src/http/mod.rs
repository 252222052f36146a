//! The client's side: one connection, one request, and what goes back.
//!
//! [`pipeline::handle`] tells a request's story; the other files are its words.

pub mod stream;
pub mod preface;
pub mod refusals;
pub mod http1;
pub mod io;
pub mod turn;
pub mod streams;
pub mod connection;
pub mod pipeline;
pub mod admission;
pub mod direction;
pub mod attempts;
pub mod websocket;
pub mod tunnel;
pub mod target;
pub mod request_id;
pub mod headers;
pub mod edits;
pub mod forwarded;
pub mod grpc;
pub mod own;
pub mod error;
pub mod body;
