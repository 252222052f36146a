//! The listeners of a process and their sockets: opened, taken over, added, taken out.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use vertice_config::gateway::{ListenAddress, ListenerConfig};

use super::bind::{bind, ready};
use super::entrance::Entrance;
use super::socket::ListenSocket;
use super::unix;
use crate::tls::ListenerTls;
use crate::worker::{Drain, Told};

/// HTTPS at a listener; `None`: HTTP.
type Tls = Option<Arc<ListenerTls>>;

/// One listener of this process.
#[derive(Debug)]
pub struct OpenListener {
    /// As the configuration has it.
    pub config: ListenerConfig,
    /// Where it really is: the port that the system chose.
    pub address: ListenAddress,
    /// Whether the file of its Unix socket is ours to change and to remove; a service manager keeps its own.
    pub owns_file: bool,
    /// Kept to be handed to a successor.
    kept: Vec<ListenSocket>,
    /// The same sockets for the workers, until they have them.
    for_workers: Vec<ListenSocket>,
    entrance: Arc<Entrance>,
}

impl OpenListener {
    /// New sockets.
    pub fn bind(config: &ListenerConfig, tls: Tls, workers: usize) -> io::Result<Self> {
        Self::of(config, tls, bind(config, workers)?, true)
    }

    /// Sockets that somebody else opened; there may be fewer or more than workers.
    pub fn of(
        config: &ListenerConfig,
        tls: Tls,
        sockets: Vec<ListenSocket>,
        owns_file: bool,
    ) -> io::Result<Self> {
        sockets.iter().try_for_each(ready)?;
        let address = sockets.first().map_or_else(|| Ok(config.address.clone()), ListenSocket::address)?;
        // Copied before anything is promised: later there might be no descriptor left for it.
        let for_workers = sockets.iter().map(ListenSocket::try_clone).collect::<Result<_, _>>()?;
        let entrance = Arc::new(Entrance::new(config.clone(), tls));
        Ok(Self { config: config.clone(), address, owns_file, kept: sockets, for_workers, entrance })
    }

    /// Copies of its sockets, for a successor.
    pub fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        self.kept.iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Connections are taken from here on. A worker with more than its share of the sockets hands over what is too much.
    async fn start(&mut self, workers: &[mpsc::Sender<Told>]) {
        self.set_mode();
        for (socket, worker) in self.for_workers.drain(..).zip(workers.iter().cycle()) {
            if worker.send(Told::Listen(socket, self.entrance.clone())).await.is_err() {
                tracing::error!(
                    listener = self.config.name,
                    "a worker is gone; its socket takes no connections"
                );
            }
        }
    }

    /// The file of its Unix socket, if it is ours.
    fn file(&self) -> Option<&Path> {
        match &self.address {
            ListenAddress::Unix(path) if self.owns_file => Some(path.as_path()),
            ListenAddress::Unix(_) | ListenAddress::Tcp(_) => None,
        }
    }

    /// The configuration may have another mode than the one that the file was made with.
    fn set_mode(&self) {
        if let Some(Err(error)) = self.file().map(|path| unix::set_mode(path, self.config.mode)) {
            tracing::warn!(%error, listener = self.config.name, "the mode of its Unix socket stays as it is");
        }
    }

    /// No new connections; those that are there end after their next answer. Our copies of the sockets go first, or what
    /// comes after the workers closed theirs would wait in a queue that nobody reads.
    fn close(mut self, how: Drain) {
        if let (Some(path), Drain::Stop) = (self.file(), how) {
            unix::remove(path);
        }
        self.kept.clear();
        self.entrance.close();
    }
}

/// All listeners of this process.
#[derive(Debug)]
pub struct Listeners {
    open: Vec<OpenListener>,
    workers: Vec<mpsc::Sender<Told>>,
}

/// What comes in the place of the present listeners, all sockets open.
#[derive(Debug)]
pub struct NextListeners(Vec<Next>);

#[derive(Debug)]
enum Next {
    /// The one at this position stays, under these rules.
    Kept(usize, ListenerConfig, Tls),
    New(OpenListener),
}

/// Why a listener could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Which.
    pub name: String,
    /// Where.
    pub address: ListenAddress,
    /// Why.
    pub error: io::Error,
}

impl Listeners {
    /// `open`, served by `workers` once they are [started](Self::start).
    pub fn new(open: Vec<OpenListener>, workers: Vec<mpsc::Sender<Told>>) -> Self {
        Self { open, workers }
    }

    /// The open ones.
    pub fn iter(&self) -> impl Iterator<Item = &OpenListener> {
        self.open.iter()
    }

    /// Connections are taken from here on.
    pub async fn start(&mut self) {
        for listener in &mut self.open {
            listener.start(&self.workers).await;
        }
    }

    /// Opens what `wanted` adds; `tls` is theirs, in the same order. Nothing changes for what is there.
    pub fn prepare(&self, wanted: &[ListenerConfig], tls: &[Tls]) -> Result<NextListeners, OpenError> {
        let present: Vec<&ListenerConfig> = self.open.iter().map(|listener| &listener.config).collect();
        let next =
            wanted.iter().zip(tls).zip(stays(&present, wanted)).map(|((config, tls), stays)| match stays {
                Some(position) => Ok(Next::Kept(position, config.clone(), tls.clone())),
                None => OpenListener::bind(config, tls.clone(), self.workers.len()).map(Next::New).map_err(
                    |error| OpenError { name: config.name.clone(), address: config.address.clone(), error },
                ),
            });
        next.collect::<Result<_, _>>().map(NextListeners)
    }

    /// Where clients would come in with `next`.
    pub fn addresses_with(&self, next: &NextListeners) -> Vec<ListenAddress> {
        let address = |next: &Next| match next {
            Next::Kept(position, config, _) => {
                self.open.get(*position).map_or(&config.address, |listener| &listener.address).clone()
            }
            Next::New(listener) => listener.address.clone(),
        };
        next.0.iter().map(address).collect()
    }

    /// Puts `next` in the place of what is there: starts what is new, closes what is gone.
    pub async fn change(&mut self, next: NextListeners) {
        let mut before: Vec<Option<OpenListener>> =
            std::mem::take(&mut self.open).into_iter().map(Some).collect();
        for next in next.0 {
            match next {
                Next::Kept(position, config, tls) => {
                    let Some(mut kept) = before.get_mut(position).and_then(Option::take) else { continue };
                    if kept.config != config {
                        kept.entrance.set_rules(config.clone(), tls);
                        kept.config = config;
                        kept.set_mode();
                    }
                    self.open.push(kept);
                }
                Next::New(mut listener) => {
                    tracing::info!(listener = listener.config.name, address = %listener.address, "listening");
                    listener.start(&self.workers).await;
                    self.open.push(listener);
                }
            }
        }
        let gone: Vec<OpenListener> = before.into_iter().flatten().collect();
        if gone.is_empty() {
            return;
        }
        for listener in gone {
            tracing::info!(listener = listener.config.name, address = %listener.address, "no longer listening; its connections are drained");
            listener.close(Drain::Stop);
        }
        for worker in &self.workers {
            // One that is gone has no connections.
            let _ = worker.send(Told::Look).await;
        }
    }

    /// How workers are told things.
    pub fn workers(&self) -> &[mpsc::Sender<Told>] {
        &self.workers
    }

    /// Closes all. The files of Unix sockets go, unless a successor listens there.
    pub fn close(self, how: Drain) {
        self.open.into_iter().for_each(|listener| listener.close(how));
    }
}

/// For each of `wanted` which of `present` it is: the same address under the same name, else the same address. (Several may
/// leave their port to the system, and then have the same address.)
fn stays(present: &[&ListenerConfig], wanted: &[ListenerConfig]) -> Vec<Option<usize>> {
    let mut found = vec![None; wanted.len()];
    let mut free = vec![true; present.len()];
    let same: [fn(&ListenerConfig, &ListenerConfig) -> bool; 2] =
        [|a, b| a.address == b.address && a.name == b.name, |a, b| a.address == b.address];
    for same in same {
        for (config, found) in wanted.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let matching = present.iter().zip(&mut free).enumerate();
            let first = { matching }.find(|(_, (there, free))| **free && same(there, config));
            if let Some((position, (_, free))) = first {
                *free = false;
                *found = Some(position);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use vertice_config::gateway::ListenerRules;

    use super::*;

    fn config(name: &str, address: &str) -> ListenerConfig {
        ListenerConfig {
            name: name.into(),
            address: address.parse().unwrap(),
            mode: 0o660,
            tls: None,
            proxy_protocol: Vec::new(),
            rules: ListenerRules::default(),
        }
    }

    #[test]
    fn a_listener_stays_while_its_address_does_whatever_it_is_called() {
        let [a, b, c] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:0"];
        for (present, wanted, expected) in [
            (vec![("x", a)], vec![("x", a)], vec![Some(0)]),
            (vec![("x", a)], vec![("y", a)], vec![Some(0)]),
            (vec![("x", a)], vec![("x", b)], vec![None]),
            (vec![("x", a), ("y", b)], vec![("y", b)], vec![Some(1)]),
            (vec![("x", c), ("y", c)], vec![("y", c), ("z", c)], vec![Some(1), Some(0)]),
            (vec![("x", c)], vec![("y", c), ("x", c)], vec![None, Some(0)]),
        ] {
            let present: Vec<_> = present.into_iter().map(|(name, at)| config(name, at)).collect();
            let wanted: Vec<_> = wanted.into_iter().map(|(name, at)| config(name, at)).collect();
            assert_eq!(
                stays(&present.iter().collect::<Vec<_>>(), &wanted),
                expected,
                "{present:?} {wanted:?}"
            );
        }
    }
}
