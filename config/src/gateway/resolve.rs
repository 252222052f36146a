//! Flags over environment over file over defaults: what the gateway runs with.

use super::claims::{Claim, Origin};
use super::environment::{self, EnvSpec};
use super::file::{self, FileSpec, WORKERS, Wanted};
use super::listeners::AdminSpec;
use super::policy::PoliciesConfig;
use super::{
    FallbackUrl, Flags, GatewayConfig, ListenAddress, ListenerConfig, ListenerRules, Mistake, RegistryConfig,
    RegistryPlace, ServiceConfig, claims, defaults, fallbacks, policy, upstream_tls,
};
use crate::env::Env;
use crate::reader::Reading;
use crate::redis_address::StoreAddress;
use crate::values;

/// Reads `file` (its name and its text), the environment and the flags; every mistake of all three at once.
///
/// Of the disk it reads the files that hold tokens and nothing else.
pub fn resolve(file: Option<(&str, &str)>, env: &Env, flags: &Flags) -> Result<GatewayConfig, Vec<Mistake>> {
    let (said_env, env_errors) = environment::read(env);
    let mut others: Vec<Mistake> = env_errors.into_iter().map(Mistake::InEnvironment).collect();
    let flag_place = place_by_flag(flags, &mut others);
    let wanted = Wanted {
        listener: file.is_some() && flags.listen.is_none() && env.get(environment::LISTEN).is_none(),
        token: said_env.token.is_none(),
        store_password: said_env.store_password.is_none(),
    };
    // No file says as much as an empty one.
    let (name, text) = file.unwrap_or_default();
    let (config, in_file) = Reading::of(name, text, |reading, root| {
        let said_file = file::read(reading, root, env, wanted);
        let (mut config, claims) = merge(said_file, said_env, flags, flag_place);
        claims::judge(&claims, reading, &mut others);
        add_fallbacks(&mut config, env);
        config
    });
    let mistakes: Vec<Mistake> = in_file.into_iter().map(Mistake::InFile).chain(others).collect();
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

/// The registry that the flags name.
fn place_by_flag(flags: &Flags, mistakes: &mut Vec<Mistake>) -> Option<RegistryPlace> {
    let mut mistake = |flag, value: String, rule: String| {
        mistakes.push(Mistake::InFlag { flag, value, rule });
    };
    if let Some(workers) = flags.workers.filter(|workers| !WORKERS.contains(workers)) {
        let rule = format!("give a whole number from {} to {}", WORKERS.start(), WORKERS.end());
        mistake("--workers", workers.to_string(), rule);
    }
    let url = flags.registry.as_deref().and_then(|text| match values::parse_url(text) {
        Ok(url) => Some(url),
        Err(why) => {
            let shown = if text.contains('@') { "[not shown]" } else { text };
            mistake("--registry", shown.into(), why);
            None
        }
    });
    if let (Some(_), Some(embedded)) = (&flags.registry, flags.embedded_registry) {
        let rule = "--registry is given as well: give one of the two".to_owned();
        mistake("--embedded-registry", embedded.to_string(), rule);
    }
    url.map(RegistryPlace::Remote).or_else(|| flags.embedded_registry.map(RegistryPlace::Embedded))
}

/// Takes each setting from the first that says it, and notes who wants to listen where.
fn merge(
    file: FileSpec,
    env: EnvSpec,
    flags: &Flags,
    flag_place: Option<RegistryPlace>,
) -> (GatewayConfig, Vec<Claim>) {
    let mut claims = Vec::new();
    let mut claim = |what, address: &ListenAddress, origin| {
        claims.push(Claim { what, address: address.clone(), origin });
    };

    let one = |address| {
        let rules = ListenerRules::plain(file.limits.clients, file.timeouts);
        vec![ListenerConfig {
            name: "main".into(),
            address,
            mode: defaults::SOCKET_MODE,
            tls: None,
            proxy_protocol: Vec::new(),
            rules,
        }]
    };
    let listeners = if let Some(address) = flags.listen.clone() {
        claim("a listener", &address, Origin::Flag("--listen"));
        one(address)
    } else if let Some(address) = env.listen {
        claim("a listener", &address, Origin::Environment(environment::LISTEN));
        one(address)
    } else if file.listeners.is_empty() {
        claim("the default listener", &defaults::LISTEN.into(), Origin::Default);
        one(defaults::LISTEN.into())
    } else {
        for said in &file.listeners {
            claim("a listener", &said.value.address, Origin::File(said.at.clone()));
        }
        file.listeners.into_iter().map(|said| said.value).collect()
    };

    let (admin, origin) = match (flags.admin, env.admin, file.admin) {
        (Some(address), _, _) => (AdminSpec::At(address), Origin::Flag("--admin")),
        (None, Some(admin), _) => (admin, Origin::Environment(environment::ADMIN)),
        (None, None, Some(said)) => (said.value, Origin::File(said.at)),
        (None, None, None) => (AdminSpec::At(defaults::ADMIN), Origin::Default),
    };
    let admin = match admin {
        AdminSpec::Off => None,
        AdminSpec::At(address) => {
            claim("the admin listener", &address.into(), origin);
            Some(address)
        }
    };

    let (place, origin) = match (flag_place, env.registry, file.registry.place) {
        (Some(place), _, _) => (place, Origin::Flag("--embedded-registry")),
        (None, Some(url), _) => (RegistryPlace::Remote(url), Origin::Default),
        (None, None, Some(said)) => (said.value, Origin::File(said.at)),
        (None, None, None) => (RegistryPlace::Embedded(defaults::EMBEDDED_REGISTRY), Origin::Default),
    };
    if let RegistryPlace::Embedded(address) = place {
        claim("the embedded registry", &address.into(), origin);
    }

    let state_dir = flags.state_dir.clone().or(file.state_dir);
    let beside_state = || state_dir.as_ref().map(|dir| dir.join("upgrade.sock"));
    let upgrade_socket = flags.upgrade_socket.clone().or(file.upgrade_socket).or_else(beside_state);
    let config = GatewayConfig {
        listeners,
        admin,
        registry: RegistryConfig {
            place,
            token: env.token.or(file.registry.token),
            request_timeout: env
                .request_timeout
                .or(file.registry.request_timeout)
                .unwrap_or(defaults::REQUEST_TIMEOUT),
            poll_interval: env
                .poll_interval
                .or(file.registry.poll_interval)
                .unwrap_or(defaults::POLL_INTERVAL),
            stale_after: file.registry.stale_after,
            when_stale: file.registry.when_stale,
        },
        workers: flags.workers.or(file.workers),
        state_dir,
        upgrade_socket,
        trusted_proxies: file.trusted_proxies,
        access_log: file.access_log,
        reason_header: file.reason_header,
        timeouts: file.timeouts,
        limits: file.limits,
        health: file.health,
        upstream_tls: file.upstream_tls,
        headers: file.headers,
        services: file.services,
        policies: PoliciesConfig {
            rate_limit_store: file
                .policies
                .rate_limit_store
                .map(|store| StoreAddress { password: env.store_password.or(store.password), ..store }),
            ..file.policies
        },
        routes: file.routes,
        warnings: Vec::new(),
    };
    (config, claims)
}

/// The environment's fall-backs for the services that the file says nothing about.
fn add_fallbacks(config: &mut GatewayConfig, env: &Env) {
    let (found, warnings) = fallbacks::read(env);
    config.warnings.extend(warnings);
    config.warnings.extend(policy::warnings(&config.policies, &config.routes));
    config.warnings.extend(upstream_tls::warnings(&config.upstream_tls, &config.services));
    for (name, url) in found {
        let url = FallbackUrl::Http(url);
        match config.services.iter_mut().find(|service| service.name == name) {
            Some(service) => {
                service.fallback.get_or_insert_with(|| vec![url]);
            }
            None => config.services.push(ServiceConfig { name, fallback: Some(vec![url]), tls: None }),
        }
    }
}
