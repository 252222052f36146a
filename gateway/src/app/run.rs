//! A gateway from its start to its end: signals, changes of the file, orders of operators and a successor, one at a time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use vertice_config::gateway::{GatewayConfig, RegistryPlace};
use vertice_process::signals::{Asked, Signals};
use vertice_process::tasks;

use super::{Gateway, start};
use crate::reload::ReloadOrder;
use crate::reload::origin::Origin;
use crate::reload::state::Cause;
use crate::reload::watch::FileWatch;
use crate::upgrade::hand_over::{self, Wish};
use crate::upgrade::packet::Channel;
use crate::upgrade::socket::UpgradeSocket;
use crate::upgrade::take_over::{self, TakenOver};
use crate::upgrade::{READY_WITHIN, activation, notify};
use crate::worker::Drain;

/// What is wrong with an upgrade without a place for it.
pub const NO_UPGRADE_SOCKET: &str =
    "an upgrade needs the socket of the running gateway: give --upgrade-socket or a state directory";

/// What happens to a running gateway.
enum Event {
    Asked(Asked),
    Changed,
    Ordered(ReloadOrder),
    /// Somebody is at the upgrade socket.
    Came(Channel),
    /// And wants to take over.
    Wished(Channel),
    /// What came of it: the new process accepts, or never will.
    Given(Result<Channel, String>),
}

/// Where events come from, beside the gateway itself.
struct Ears {
    signals: Signals,
    watch: Option<FileWatch>,
    socket: Option<UpgradeSocket>,
    wished: mpsc::Receiver<Channel>,
    wish: mpsc::Sender<Channel>,
    given: mpsc::Receiver<Result<Channel, String>>,
    give: mpsc::Sender<Result<Channel, String>>,
}

/// Runs until it is asked to stop or another process has taken over; with `take_over` it takes over from the running one.
/// An error is one line that says what to do.
pub async fn run(config: GatewayConfig, origin: Origin, take_over: bool) -> Result<(), String> {
    let signals = Signals::listen().map_err(|error| format!("signals cannot be listened to: {error}"))?;
    let watch = origin.file.as_deref().map(FileWatch::start).transpose();
    let watch = watch.map_err(|error| format!("the configuration file cannot be watched: {error}"))?;
    let ((wish, wished), (give, given)) = (mpsc::channel(1), mpsc::channel(1));
    let mut ears = Ears { signals, watch, socket: None, wished, wish, given, give };
    let env = origin.env.clone();
    let gateway = if take_over {
        succeed(config, origin, &mut ears).await?
    } else {
        let inherited = activation::inherited(&env)?;
        let socket = config.upgrade_socket.clone();
        let mut gateway = start(config, origin, inherited).await.map_err(|error| error.to_string())?;
        gateway.open().await.map_err(|error| error.to_string())?;
        ears.socket = socket.and_then(|path| open(UpgradeSocket::bind(&path), &path));
        gateway
    };
    notify::ready(&env);
    say_where(&gateway);
    serve(gateway, ears).await;
    Ok(())
}

/// Starts with the sockets of the running gateway, and sends it away when this one can do its work.
async fn succeed(config: GatewayConfig, origin: Origin, ears: &mut Ears) -> Result<Gateway, String> {
    let path = config.upgrade_socket.clone().ok_or(NO_UPGRADE_SOCKET)?;
    let TakenOver { inherited, socket, predecessor } = take_over::ask(&path).await?;
    let mut gateway = start(config, origin, inherited).await.map_err(|error| error.to_string())?;
    let deadline = Instant::now() + READY_WITHIN;
    while !gateway.is_ready() {
        if Instant::now() >= deadline {
            let missing = gateway.readiness.missing().join(", ");
            return Err(format!(
                "not ready within {READY_WITHIN:?} ({missing}); the running gateway goes on"
            ));
        }
        tokio::select! {
            () = sleep(Duration::from_millis(10)) => {}
            asked = ears.signals.next() => if asked == Asked::Stop {
                return Err("asked to stop before it had taken over; the running gateway goes on".into());
            },
        }
    }
    gateway.open().await.map_err(|error| error.to_string())?;
    if let Err(error) = predecessor.ready().await {
        // What was accepted meanwhile is served.
        gateway.drain(Drain::HandedOver).await;
        return Err(error);
    }
    ears.socket = match socket {
        Some((there, socket)) if there == path => open(UpgradeSocket::of(&path, socket), &path),
        Some(_) | None => open(UpgradeSocket::bind(&path), &path),
    };
    tracing::info!("taken over from the process before");
    Ok(gateway)
}

/// Without it everything works but the next upgrade.
fn open(socket: std::io::Result<UpgradeSocket>, path: &std::path::Path) -> Option<UpgradeSocket> {
    socket
        .inspect_err(|error| {
            tracing::warn!(%error, path = %path.display(), "the upgrade socket cannot be opened: no upgrade in place will be possible");
        })
        .ok()
}

async fn serve(mut gateway: Gateway, mut ears: Ears) {
    let how = loop {
        match next(&mut gateway, &mut ears).await {
            Event::Asked(Asked::Stop) => break Drain::Stop,
            Event::Asked(Asked::Reload) => drop(gateway.reload(Cause::Signal).await),
            Event::Changed => drop(gateway.reload(Cause::File).await),
            Event::Ordered(order) => {
                let reloaded = gateway.reload(Cause::Admin).await;
                // Who asked may have left.
                let _ = order.reply.send(reloaded);
            }
            Event::Came(channel) => hear(channel, &ears),
            Event::Wished(channel) => gateway.wished(channel, &ears).await,
            Event::Given(Ok(channel)) => {
                hand_over::going(&channel).await;
                break Drain::HandedOver;
            }
            Event::Given(Err(why)) => {
                gateway.handing_over = false;
                tracing::error!("the new process did not take over: {why}; this one goes on");
            }
        }
    };
    match (how, ears.socket.take()) {
        (Drain::Stop, Some(socket)) => socket.remove(),
        // It is the successor's now.
        (Drain::HandedOver, socket) => drop(socket),
        (Drain::Stop, None) => {}
    }
    match how {
        Drain::Stop => tracing::info!("stopping: no new connections, requests in flight are finished"),
        Drain::HandedOver => {
            tracing::info!("another process has taken over; requests in flight are finished");
        }
    }
    if gateway.drain(how).await {
        tracing::info!("stopped");
    } else {
        tracing::warn!("the drain timeout passed; what was still in flight is cut");
    }
}

async fn next(gateway: &mut Gateway, ears: &mut Ears) -> Event {
    let Ears { signals, watch, socket, wished, given, .. } = ears;
    let changed = async {
        match watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    };
    let came = async {
        let Some(socket) = socket else { return std::future::pending().await };
        loop {
            match socket.accept().await {
                Ok(channel) => return channel,
                Err(error) => {
                    tracing::warn!(%error, "accept at the upgrade socket failed, trying again in 1 s");
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        asked = signals.next() => Event::Asked(asked),
        () = changed => Event::Changed,
        Some(order) = gateway.asked.recv() => Event::Ordered(order),
        Some(came) = given.recv() => Event::Given(came),
        channel = came => Event::Came(channel),
        Some(channel) = wished.recv() => Event::Wished(channel),
    }
}

/// Hears the one at the upgrade socket, which may take its time.
fn hear(channel: Channel, ears: &Ears) {
    let wish = ears.wish.clone();
    tasks::spawn("upgrade-socket", async move {
        match hand_over::hear(&channel).await {
            // The receiver lives as long as the process serves.
            Ok(Wish::TakeOver) => drop(wish.send(channel).await),
            Ok(Wish::Answered) => {}
            Err(error) => tracing::warn!(%error, "somebody at the upgrade socket says nothing usable"),
        }
    });
}

impl Gateway {
    /// Begins to hand over.
    async fn wished(&mut self, channel: Channel, ears: &Ears) {
        if self.handing_over {
            return hand_over::refuse(&channel, "another process is taking over already").await;
        }
        if matches!(self.running.registry.place, RegistryPlace::Embedded(_)) {
            let why = "its embedded registry would be lost with it; run the registry by itself, or restart";
            return hand_over::refuse(&channel, why).await;
        }
        let Some(socket) = &ears.socket else { return };
        let offer = match self.offer(socket) {
            Ok(offer) => offer,
            Err(error) => return hand_over::refuse(&channel, &error.to_string()).await,
        };
        self.handing_over = true;
        tracing::info!("a new process takes the listening sockets; this one serves until that one is ready");
        let give = ears.give.clone();
        tasks::spawn("hand-over", async move {
            let given = hand_over::give(&channel, &offer).await.map(|()| channel);
            // The receiver lives as long as the process serves.
            let _ = give.send(given).await;
        });
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
