//! The story of a sidecar: wait for health, register, look after both sides, take the registration back.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use vertice_config::sidecar::SidecarConfig;
use vertice_process::readiness::{NotReady, Readiness};
use vertice_process::shutdown::Shutdown;
use vertice_process::{clock, tasks};
use vertice_registry_api::register::Registration;
use vertice_registry_api::{Metadata, limits};
use vertice_registry_client::{Phase, Registrar, RegistrarConfig, RegistrarState};

use crate::admin;
use crate::health::{HealthState, Timing};
use crate::probe::{Unhealthy, probe};

/// The longest goodbye, with the wait for the gateways: inside the ten seconds that container engines give before they
/// kill.
const GOODBYE: Duration = Duration::from_secs(9);

/// Runs until `shutdown`. `admin` is the bound admin listener, if one is wanted.
pub async fn run(config: SidecarConfig, timing: Timing, admin: Option<TcpListener>, mut shutdown: Shutdown) {
    let (registrar_state, registrar_now) = watch::channel(RegistrarState::default());
    let first = HealthState::new(false);
    let (health_state, health_now) = watch::channel(first.status());
    let readiness = Readiness::default();
    let unregistered = readiness.hold("registration");
    if let Some(listener) = admin {
        let served = admin::serve(listener, readiness, shutdown.clone(), registrar_now, health_now);
        tasks::spawn("admin", served);
    }

    let waited = tokio::select! {
        waited = wait_for_health(&config, &timing) => waited,
        () = shutdown.pulled() => {
            tracing::info!("stopped before the service was registered");
            return;
        }
    };
    let mut health = HealthState::new(waited.is_some());
    health_state.send_replace(health.status());
    let registrar = Registrar::start(registrar_config(&config), registration(&config, health, waited));
    tasks::spawn("registrar state", follow(registrar.state(), registrar_state, unregistered));

    loop {
        tokio::select! {
            () = sleep(health.pause(&timing)) => {}
            () = shutdown.pulled() => break,
        }
        let checked = tokio::select! {
            checked = probe(&config.endpoint, &config.health_endpoint, timing.check) => checked,
            () = shutdown.pulled() => break,
        };
        if health.observe(checked.is_ok()) {
            told(&config, health, &checked);
            if let Ok(metadata) = checked {
                registrar.set_metadata(metadata);
            }
            registrar.set_status(health.status());
            health_state.send_replace(health.status());
        }
    }
    if !registrar.deregister(GOODBYE).await {
        tracing::warn!("the registry did not answer the goodbye in time, the lease will run out");
    }
}

/// Looks at the service until it is healthy or the wait is over. What it said when healthy.
async fn wait_for_health(config: &SidecarConfig, timing: &Timing) -> Option<Metadata> {
    let end = Instant::now() + config.initial_wait;
    let mut failures = 0;
    loop {
        let error = match probe(&config.endpoint, &config.health_endpoint, timing.check).await {
            Ok(metadata) => {
                tracing::info!(service = %config.service, endpoint = %config.endpoint, "the service is healthy");
                return Some(metadata);
            }
            Err(error) => error,
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tracing::warn!(
                service = %config.service,
                endpoint = %config.endpoint,
                health = %config.health_endpoint,
                %error,
                "the service is not healthy after {} s, registering it anyway, as starting",
                config.initial_wait.as_secs_f64()
            );
            return None;
        }
        if failures == 0 {
            tracing::info!(service = %config.service, endpoint = %config.endpoint, %error, "waiting for the service");
        }
        sleep(timing.initial_pause(failures).min(left)).await;
        failures = failures.saturating_add(1);
    }
}

fn registrar_config(config: &SidecarConfig) -> RegistrarConfig {
    RegistrarConfig {
        url: config.registry.clone(),
        token: config.token.as_ref().map(|token| token.expose().to_owned()),
        heartbeat_interval: config.heartbeat_interval,
        started_unix_ms: clock::unix_ms(),
    }
}

fn registration(config: &SidecarConfig, health: HealthState, waited: Option<Metadata>) -> Registration {
    let metadata = waited.unwrap_or_default();
    Registration {
        service: config.service.clone(),
        instance_id: config.instance_id.clone(),
        incarnation: 0,
        url: config.endpoint.clone(),
        health_endpoint: config.health_endpoint.clone(),
        // The registry shows it as the instance's own field as well, under the field's narrower limit.
        version: metadata.get("version").filter(|v| is_version(v)).map(str::to_owned),
        metadata,
        zone: None,
        weight: limits::DEFAULT_WEIGHT,
        ttl_s: None,
        status: health.status(),
    }
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::VERSION_BYTES && !text.chars().any(char::is_control)
}

/// One line per change of the service's status.
fn told(config: &SidecarConfig, health: HealthState, checked: &Result<Metadata, Unhealthy>) {
    let (service, status) = (&config.service, health.status().as_str());
    match checked {
        Ok(_) => tracing::info!(%service, status, "the service is healthy"),
        Err(error) => tracing::warn!(%service, status, %error, "the service is not healthy"),
    }
}

/// Passes the registrar's state on to the admin listener; ready from the first registration on.
async fn follow(
    mut from: watch::Receiver<RegistrarState>,
    to: watch::Sender<RegistrarState>,
    unregistered: NotReady,
) {
    let mut unregistered = Some(unregistered);
    loop {
        let state = from.borrow_and_update().clone();
        if state.phase == Phase::Registered {
            unregistered = None;
        }
        to.send_replace(state);
        if from.changed().await.is_err() {
            break;
        }
    }
    drop(unregistered);
}
