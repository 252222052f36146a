//! The registry server: a pure store, and the HTTP API over it. Embedded in the gateway, or alone as
//! `vertice-registry`. The contract is `docs/registry-protocol.md`.

pub mod store;
