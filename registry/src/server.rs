//! Starting a registry: listeners bound, tasks spawned onto the current runtime.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use vertice_process::http_server::{self, ServerLimits};
use vertice_process::readiness::Readiness;
use vertice_process::shutdown::Shutdown;
use vertice_process::{admin, tasks};

use crate::api::{self, Shared};
use crate::policy::EndpointPolicy;
use crate::settings::{Settings, StartError};

/// A registry that runs until the shutdown that it was given.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Where clients come in; with the port that the system chose.
    pub address: SocketAddr,
    /// Where operators look in.
    pub admin_address: Option<SocketAddr>,
}

/// Binds and spawns. When this returns, connections are accepted.
pub async fn start(settings: Settings, shutdown: Shutdown) -> Result<Running, StartError> {
    let on_loopback = settings.listen.ip().to_canonical().is_loopback();
    if settings.auth.is_open() && !on_loopback && !settings.insecure {
        return Err(StartError::OpenBeyondLoopback { address: settings.listen });
    }
    let (listener, address) = bind("--listen", settings.listen).await?;
    let admin = match settings.admin {
        None => None,
        Some(wanted) => Some(bind("--admin", wanted).await?),
    };
    let admin_address = admin.as_ref().map(|(_, address)| *address);
    let policy = EndpointPolicy {
        loopback: on_loopback,
        networks: settings.allow_networks,
        suffixes: settings.allow_suffixes,
        own: [Some(address), admin_address].into_iter().flatten().collect(),
    };
    let shared = Arc::new(Shared::new(settings.auth, policy, settings.limits, shutdown.clone()));
    tasks::spawn("registry-leases", shared.clone().tick());
    let calls = shared.clone();
    let handle = move |request, _peer| api::handle(calls.clone(), request);
    tasks::spawn(
        "registry-api",
        http_server::serve(listener, ServerLimits::default(), shutdown.clone(), handle),
    );
    if let Some((listener, _)) = admin {
        let metrics = move || shared.render_metrics();
        // Ready as soon as it listens: an empty registry that is warming says so in its state.
        let serve = admin::serve(listener, Readiness::default(), shutdown, metrics, |_| async { None });
        tasks::spawn("registry-admin", serve);
    }
    Ok(Running { address, admin_address })
}

async fn bind(flag: &'static str, wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |error| StartError::Bind { flag, address: wanted, error };
    let listener = TcpListener::bind(wanted).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}
