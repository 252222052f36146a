//! A real redis-server of the test's own, killed when it is dropped.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::{PATIENCE, eventually};

/// A running server without persistence.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl RedisServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = spawn(&folder, address);
        let server = Self { child, address, folder };
        server.answers().await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        // One that has ended already needs none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A second life at the same address, empty.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.folder, self.address);
        self.answers().await;
    }

    /// What it answers to `command`, as it came; `None`: nothing.
    pub async fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut bytes = vec![0; 65_536];
        let length = timeout(PATIENCE, stream.read(&mut bytes)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    async fn answers(&self) {
        eventually(PATIENCE, "redis-server answers (is the package installed?)", async || {
            self.ask("PING").await.filter(|answer| answer.starts_with("+PONG")).map(drop)
        })
        .await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &TempDir, address: SocketAddr) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("redis-server does not start: {error}"))
}
