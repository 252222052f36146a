//! The cases of HTTP/1.1, in tables by subject.

mod request_line;
mod host;
mod fields;
mod framing;
mod chunks;
mod connection;
mod methods;
mod paths;
mod forwarding;
mod limits;
mod upstream;
mod websocket;

use super::table::Case;

/// Every table.
pub(super) const ALL: &[&[Case]] = &[
    request_line::CASES,
    host::CASES,
    fields::CASES,
    framing::CASES,
    chunks::CASES,
    connection::CASES,
    methods::CASES,
    paths::CASES,
    forwarding::CASES,
    limits::CASES,
    upstream::CASES,
    websocket::CASES,
];
