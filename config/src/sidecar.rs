//! What the sidecar reads from its environment.
