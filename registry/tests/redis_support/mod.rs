//! A real redis-server of the test's own, and replicas of the registry on it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;
use vertice_process::shutdown::ShutdownTrigger;
use vertice_registry::redis::{Memory, RedisSettings, RedisStore, StoreAddress, Wire};
use vertice_registry::store::{Patch, Refusal, Registered, Registrant, Store, StoreLimits};
use vertice_registry_api::register::Registration;
use vertice_registry_api::{
    Epoch, HealthPath, Instance, InstanceId, Metadata, Position, ServiceName, ServiceUrl, SourceState, Status,
};

/// For what another process does; a Sentinel that finds no good replica at once looks again seconds later.
pub(crate) const SOON: Duration = Duration::from_mins(1);
pub(crate) const ME: Registrant<'_> = Registrant { name: "me", limited: false };

/// Polls `met` until it holds; fails naming `what` after [`SOON`].
#[track_caller]
pub(crate) fn eventually<'a>(
    what: &'a str,
    mut met: impl FnMut() -> bool + 'a,
) -> impl Future<Output = Duration> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !met() {
            assert!(start.elapsed() < SOON, "not within {SOON:?}: {what} ({caller})");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }
}

/// A server process (or a Sentinel) in a folder of its own; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) dir: Arc<TempDir>,
    arguments: Vec<String>,
}

impl Server {
    /// Starts with persistence off but for what `arguments` say.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        // Another process may take the port between the look and the start: then another one.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = spawn(dir.path(), port, &arguments).await {
                return Self { child, port, dir, arguments };
            }
        }
        panic!("redis-server does not start; is the package redis-server installed?");
    }

    /// Starts at a port that was seen to be free.
    pub(crate) async fn start_at(port: u16, arguments: &[&str]) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let child = spawn(dir.path(), port, &arguments).await.expect("the port is still free");
        Self { child, port, dir, arguments }
    }

    /// A second life on the same port, with what is in the folder.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        for _ in 0..20 {
            if let Some(child) = spawn(self.dir.path(), self.port, &self.arguments).await {
                self.child = child;
                return;
            }
        }
        panic!("redis-server does not start again on port {}", self.port);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A connection for looking and meddling.
    pub(crate) fn client(&self) -> redis::Connection {
        client(self.port)
    }

    pub(crate) fn call<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        call(&mut self.client(), words)
    }

    /// As [`Self::call`] where the server may cut the connection, as one does that a Sentinel reconfigures.
    pub(crate) fn asked<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let mut client = redis::Client::open(self.address()).ok()?.get_connection().ok()?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut client).ok()
    }

    /// Whether `INFO SECTION` has `text`.
    pub(crate) fn says(&self, section: &str, text: &str) -> bool {
        self.asked::<String>(&["INFO", section]).is_some_and(|info| info.contains(text))
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn client(port: u16) -> redis::Connection {
    redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap().get_connection().unwrap()
}

pub(crate) fn call<T: redis::FromRedisValue>(connection: &mut redis::Connection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query(connection).unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Option<Child> {
    let (program, rest) = match arguments.split_first() {
        Some((first, rest)) if first == "--as-sentinel" => ("redis-sentinel", rest),
        _ => ("redis-server", arguments),
    };
    let mut command = Command::new(program);
    if program == "redis-sentinel" {
        // A Sentinel rewrites its configuration, so it needs one.
        let text = format!("port {port}\nbind 127.0.0.1\ndir {}\n{}\n", dir.display(), rest.join("\n"));
        let path = dir.join(format!("sentinel-{port}.conf"));
        std::fs::write(&path, text).unwrap();
        command.arg(path);
    } else {
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(dir).args(rest);
    }
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn().expect(program);
    let start = Instant::now();
    while start.elapsed() < SOON {
        if let Ok(Some(_)) = child.try_wait() {
            return None;
        }
        let up = redis::Client::open(format!("redis://127.0.0.1:{port}"))
            .and_then(|client| client.get_connection_with_timeout(Duration::from_millis(200)))
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        // With a password it answers too, that it wants one.
        if up.is_ok() || up.is_err_and(|e| e.code() == Some("NOAUTH") || e.to_string().contains("NOAUTH")) {
            return Some(child);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The memory of a replica, as the API would hold it.
pub(crate) struct Held {
    store: Mutex<Store>,
    started: Instant,
    /// Time that only seemed to pass.
    skipped: Mutex<Duration>,
}

impl Memory for Held {
    fn with(&self, work: &mut dyn FnMut(&mut Store, Duration)) {
        let mut store = self.store.lock().unwrap();
        work(&mut store, self.started.elapsed() + *self.skipped.lock().unwrap());
    }

    fn unix_ms(&self) -> u64 {
        vertice_process::clock::unix_ms()
    }
}

/// One replica.
pub(crate) struct Replica {
    pub(crate) redis: RedisStore,
    pub(crate) memory: Arc<Held>,
    _trigger: ShutdownTrigger,
}

impl Replica {
    pub(crate) fn start(address: &str) -> Self {
        Self::with(address, |_| {})
    }

    pub(crate) fn with(address: &str, change: impl FnOnce(&mut RedisSettings)) -> Self {
        Self::started(address, change, RedisStore::new)
    }

    /// With connections of `wire`.
    pub(crate) fn over(wire: Arc<dyn Wire>, address: &str, change: impl FnOnce(&mut RedisSettings)) -> Self {
        Self::started(address, change, |settings| RedisStore::over(wire, settings))
    }

    fn started(
        address: &str,
        change: impl FnOnce(&mut RedisSettings),
        redis: impl FnOnce(RedisSettings) -> RedisStore,
    ) -> Self {
        let address = StoreAddress::parse(address).unwrap();
        let mut settings = RedisSettings { address, legacy: false, grace: Duration::from_secs(1) };
        change(&mut settings);
        let store = Store::new(StoreLimits::default(), Epoch(7), 1, Duration::ZERO);
        let memory =
            Arc::new(Held { store: Mutex::new(store), started: Instant::now(), skipped: Mutex::default() });
        let redis = redis(settings);
        let trigger = ShutdownTrigger::new();
        redis.spawn(memory.clone(), &trigger.handle());
        Self { redis, memory, _trigger: trigger }
    }

    /// Started and in step with Redis.
    pub(crate) async fn serving(address: &str) -> Self {
        let replica = Self::start(address);
        eventually("serving", || replica.state() == SourceState::Serving).await;
        replica
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut Store) -> T) -> T {
        read(&mut self.memory.store.lock().unwrap())
    }

    pub(crate) fn state(&self) -> SourceState {
        self.read(|store| store.state())
    }

    /// Time passes for this replica, but not for Redis.
    pub(crate) fn passes(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(500);
        let until = *self.memory.skipped.lock().unwrap() + time;
        while *self.memory.skipped.lock().unwrap() < until {
            *self.memory.skipped.lock().unwrap() += STEP;
            self.memory.with(&mut Store::observe);
        }
    }

    pub(crate) fn stale(&self) -> Vec<String> {
        let rows = self.read(|store| store.instances());
        rows.iter().filter(|row| row.stale).map(|row| row.instance_id.to_string()).collect()
    }

    pub(crate) fn position(&self) -> Position {
        self.read(|store| store.position())
    }

    pub(crate) fn get(&self, service: &str, id: &str) -> Option<Instance> {
        self.read(|store| store.get(service, id).map(|held| (*held).clone()))
    }

    pub(crate) fn has(&self, service: &str, id: &str, generation: u64) -> bool {
        self.get(service, id).is_some_and(|held| held.generation == generation)
    }

    pub(crate) fn count(&self) -> usize {
        self.read(|store| store.stats().instances)
    }

    /// What must be equal on all replicas.
    pub(crate) fn fingerprint(&self) -> String {
        self.read(|store| format!("{} {} {}", store.position(), store.digest(), store.stats().instances))
    }

    pub(crate) async fn register(
        &self,
        service: &str,
        id: &str,
        incarnation: u64,
    ) -> Result<Registered, Refusal> {
        let wanted = registration(service, id, incarnation);
        self.redis.register(&*self.memory, &wanted, ME, 1_700_000_000_000).await.map(|(done, _)| done)
    }

    pub(crate) async fn registered(&self, service: &str, id: &str, incarnation: u64) -> u64 {
        self.register(service, id, incarnation).await.unwrap().generation
    }

    pub(crate) async fn beat(&self, service: &str, id: &str, generation: u64) -> Result<(), Refusal> {
        self.redis.beat(&*self.memory, service, id, Some(generation)).await.map(drop)
    }

    pub(crate) async fn patch(
        &self,
        service: &str,
        id: &str,
        generation: u64,
        patch: Patch,
    ) -> Result<(), Refusal> {
        self.redis.patch(&*self.memory, service, id, Some(generation), &patch).await.map(drop)
    }

    pub(crate) async fn deregister(&self, service: &str, id: &str, generation: u64) -> Result<bool, Refusal> {
        self.redis.deregister(&*self.memory, service, id, Some(generation)).await.map(|(removed, _)| removed)
    }
}

pub(crate) fn registration(service: &str, id: &str, incarnation: u64) -> Registration {
    Registration {
        service: ServiceName::parse(service).unwrap(),
        instance_id: if id == "@legacy" { InstanceId::legacy() } else { InstanceId::parse(id).unwrap() },
        incarnation,
        url: ServiceUrl::parse("http://h:80").unwrap(),
        health_endpoint: HealthPath::default(),
        metadata: Metadata::default(),
        zone: None,
        weight: 100,
        version: None,
        ttl_s: None,
        status: Status::Up,
    }
}

pub(crate) fn draining() -> Patch {
    Patch { status: Some(Status::Draining), ..Patch::default() }
}
