//! A gateway from its start to its end: signals, changes of the file and orders of operators, one at a time.

use vertice_config::gateway::GatewayConfig;
use vertice_process::signals::{Asked, Signals};

use super::{Gateway, start};
use crate::reload::ReloadOrder;
use crate::reload::origin::Origin;
use crate::reload::state::Cause;
use crate::reload::watch::FileWatch;
use crate::upgrade::inherited::Inherited;
use crate::worker::Drain;

/// What happens to a running gateway.
enum Event {
    Asked(Asked),
    Changed,
    Ordered(ReloadOrder),
}

/// Runs until it is asked to stop; an error is one line that says what to do.
pub async fn run(config: GatewayConfig, origin: Origin) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let watch = origin.file.as_deref().map(FileWatch::start).transpose();
    let mut watch = watch.map_err(|error| format!("the configuration file cannot be watched: {error}"))?;
    let mut gateway = start(config, origin, Inherited::nothing()).await.map_err(|error| error.to_string())?;
    gateway.open().await.map_err(|error| error.to_string())?;
    say_where(&gateway);
    loop {
        match next(&mut gateway, &mut signals, &mut watch).await {
            Event::Asked(Asked::Stop) => break,
            Event::Asked(Asked::Reload) => drop(gateway.reload(Cause::Signal).await),
            Event::Changed => drop(gateway.reload(Cause::File).await),
            Event::Ordered(order) => {
                let reloaded = gateway.reload(Cause::Admin).await;
                // Who asked may have left.
                let _ = order.reply.send(reloaded);
            }
        }
    }
    tracing::info!("stopping: no new connections, requests in flight are finished");
    if gateway.drain(Drain::Stop).await {
        tracing::info!("stopped");
    } else {
        tracing::warn!("the drain timeout passed; what was still in flight is cut");
    }
    Ok(())
}

async fn next(gateway: &mut Gateway, signals: &mut Signals, watch: &mut Option<FileWatch>) -> Event {
    let changed = async {
        match watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        asked = signals.next() => Event::Asked(asked),
        () = changed => Event::Changed,
        Some(order) = gateway.asked.recv() => Event::Ordered(order),
    }
}

fn say_where(gateway: &Gateway) {
    if let Some(address) = gateway.registry {
        tracing::info!(%address, "embedded registry listening");
    }
    if let Some(admin) = &gateway.admin {
        tracing::info!(address = %admin.address, "admin listening");
    }
    for (name, address) in gateway.listeners() {
        tracing::info!(listener = name, %address, "listening");
    }
}
