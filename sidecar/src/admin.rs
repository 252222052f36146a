//! The admin listener, off unless an address was given: `/live`, `/ready` (once registered) and `/metrics`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use vertice_process::admin;
use vertice_process::readiness::Readiness;
use vertice_process::shutdown::Shutdown;
use vertice_registry_api::Status;
use vertice_registry_client::{Phase, RegistrarState};

/// Serves the admin paths on `listener` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    shutdown: Shutdown,
    registrar: watch::Receiver<RegistrarState>,
    health: watch::Receiver<Status>,
) {
    let metrics = move || metrics(&registrar.borrow(), *health.borrow());
    admin::serve(listener, readiness, shutdown, metrics, |_| async { None }).await;
}

/// The metrics text. Made anew for each scrape: the state has it all.
fn metrics(registrar: &RegistrarState, health: Status) -> String {
    let mut registry = Registry::with_prefix("vertice_sidecar");
    let mut gauge = |name: &str, help: &str, value: i64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("registered", "1 while the registration stands", (registrar.phase == Phase::Registered).into());
    gauge("service_up", "1 while the service's health checks pass", (health == Status::Up).into());
    gauge("registry_failures", "Failed requests to the registry in a row", registrar.failures.into());
    let rejections = i64::try_from(registrar.rejections.len()).unwrap_or(i64::MAX);
    gauge("rejections", "Gateways that cannot use the instance as it is registered, at most 8", rejections);
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_in_numbers() {
        let registrar = RegistrarState {
            phase: Phase::Registered,
            failures: 3,
            rejections: vec!["g1: no".into()],
            ..RegistrarState::default()
        };
        let text = metrics(&registrar, Status::Down);
        for line in [
            "vertice_sidecar_registered 1",
            "vertice_sidecar_service_up 0",
            "vertice_sidecar_registry_failures 3",
            "vertice_sidecar_rejections 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
