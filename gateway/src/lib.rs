//! The gateway: the front door of all services, which it finds in the registry by name.
//!
//! Modules in the order of a request's way, then discovery, then what stands beside both.

pub mod listener;
pub mod tls;
pub mod worker;
pub mod http;
pub mod fields;
pub mod table;
pub mod route;
pub mod policy;
pub mod balance;
pub mod upstream;
pub mod credentials;
pub mod health;
pub mod discovery;
pub mod admin;
pub mod telemetry;
pub mod reload;
pub mod upgrade;
pub mod app;
pub mod explain;
pub mod reference;
pub mod demo;
