//! Starting a registry: listeners bound, tasks spawned onto the current runtime.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use vertice_process::http_server::{self, ServerLimits};
use vertice_process::readiness::Readiness;
use vertice_process::shutdown::Shutdown;
use vertice_process::{admin, clock, tasks};
use vertice_registry_api::{Epoch, Position};

use crate::api::{self, Peer, Shared};
use crate::audit::Audit;
use crate::keeper::Keeper;
use crate::policy::EndpointPolicy;
use crate::redis::RedisStore;
use crate::settings::{Settings, StartError};
use crate::state::{self, Journal, Opened};
use crate::store::{Store, StoreLimits};

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
    let (store, journal) = stored(settings.state_dir.clone(), settings.limits).await?;
    let audit = match &settings.state_dir {
        None => Audit::in_memory(),
        Some(dir) => {
            let (audit, file) = Audit::open(dir);
            tasks::spawn("registry-audit", file.write(shutdown.clone()));
            audit
        }
    };
    let redis = settings.redis.map(RedisStore::new);
    let shared =
        Arc::new(Shared::new(settings.auth, policy, store, audit, shutdown.clone()).on(redis.clone()));
    if let Some(redis) = redis {
        redis.spawn(shared.clone(), &shutdown);
    }
    if let Some(journal) = journal {
        tasks::spawn("registry-keeper", Keeper::new(shared.clone(), journal, shutdown.clone()).keep());
    }
    tasks::spawn("registry-leases", shared.clone().tick());
    let calls = shared.clone();
    let handle = move |mut request: Request<Incoming>, peer| {
        request.extensions_mut().insert(Peer(peer));
        api::handle(calls.clone(), request)
    };
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

/// The store, from the state directory where there is one. Clients that connect meanwhile wait in the kernel's queue.
async fn stored(dir: Option<PathBuf>, limits: StoreLimits) -> Result<(Store, Option<Journal>), StartError> {
    let epoch = Epoch(fastrand::u128(..));
    // A thousand generations per millisecond of wall time: higher than any that an earlier process gave, and
    // still exact in a double, which some JSON parsers use.
    let first_generation = clock::unix_ms().saturating_mul(1000);
    let Some(dir) = dir else {
        return Ok((Store::new(limits, epoch, first_generation, Duration::ZERO), None));
    };
    let shown = dir.display().to_string();
    let restored = tokio::task::spawn_blocking(move || {
        let Opened { image, journal, continues, warnings } = state::open(&dir, epoch, first_generation)?;
        let position = Position { epoch: image.epoch, revision: image.revision };
        let (next, digest) = (image.next_generation, image.digest);
        let store = Store::restored(limits, position, next, image.into_rows(), digest, Duration::ZERO);
        Ok((store, journal, continues, warnings))
    });
    let restored = restored.await.map_err(|error| state::StateError::Io {
        what: "read",
        path: shown.clone().into(),
        error: std::io::Error::other(error),
    });
    let (store, journal, continues, warnings) =
        restored.and_then(|restored| restored).map_err(StartError::State)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let (revision, instances) = (store.position().revision, store.stats().instances);
    let history = if continues { "goes on: the last stop was in order" } else { "is new" };
    tracing::info!(dir = shown, instances, %revision, epoch = %store.position().epoch, "restored; the epoch {history}");
    Ok((store, Some(journal)))
}

async fn bind(flag: &'static str, wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |error| StartError::Bind { flag, address: wanted, error };
    let listener = TcpListener::bind(wanted).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}
