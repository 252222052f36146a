//! What is fed, and the laws that must hold.

mod config;
mod contract;
mod credentials;
mod headers;
mod paths;
mod proxy_protocol;
mod stored;

use crate::Target;

/// Every target.
pub const ALL: &[Target] = &[
    contract::NAMES,
    contract::SERVICE_URL,
    contract::REGISTRATION,
    contract::BODIES,
    contract::SNAPSHOT,
    config::GATEWAY_FILE,
    config::ENVIRONMENT,
    config::TOKENS,
    stored::PYTHON_LITERAL,
    stored::LAST_KNOWN_GOOD,
    paths::PATH,
    paths::HOST,
    paths::TARGET,
    proxy_protocol::HEADER,
    credentials::TOKEN,
    credentials::KEY_SET,
    credentials::QUERY_KEY,
    headers::REQUEST,
    headers::RESPONSE,
    headers::TRAILERS,
];

/// The outcome of a parser, in words.
fn told<T, E: std::fmt::Display>(name: &str, outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(_) => format!("{name} ok; "),
        Err(error) => format!("{name}: {error}; "),
    }
}
