//! The cases of HTTP/2, in tables. The first three are h2spec's list with its numbers.

mod generic;
mod rfc9113;
mod rfc9113_messages;
mod hpack;
mod hardening;
mod websocket;

use super::table::Case;

/// Every table.
pub(super) const ALL: &[&[Case]] = &[
    generic::CASES,
    rfc9113::CASES,
    rfc9113_messages::CASES,
    hpack::CASES,
    hardening::CASES,
    websocket::CASES,
];
