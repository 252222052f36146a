//! What the registry reads from files and environment.
