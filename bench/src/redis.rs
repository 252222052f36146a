//! Redis as a real program: one by itself, and one with a copy and a Sentinel that watches them, which a failover needs.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::child::Child;
use crate::programs::until;

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The master that Sentinel watches, its copy, and Sentinel.
#[derive(Debug)]
pub(crate) struct Fleet {
    master: Option<Child>,
    _copy: Child,
    _sentinel: Child,
    /// Of the copy, which is promoted.
    pub(crate) copy: SocketAddr,
    sentinel: SocketAddr,
    _folders: [TempDir; 3],
}

impl Fleet {
    /// Starts all three and waits until they know each other.
    pub(crate) async fn start(min_replicas: u32) -> Result<Self, String> {
        let min = min_replicas.to_string();
        let always = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let guard = ["--min-replicas-to-write", &min, "--min-replicas-max-lag", "2"];
        let folders = [folder()?, folder()?, folder()?];
        let [of_master, of_copy, of_sentinel] = &folders;
        let (master, master_at) = server(of_master.path(), &[&always[..], &guard].concat()).await?;
        let port = master_at.port().to_string();
        // The guard is the old master's: whoever is promoted is alone.
        let copy = [&always[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let (copy, copy_at) = server(of_copy.path(), &copy).await?;
        says(copy_at, "replication", "master_link_status:up").await?;
        says(master_at, "replication", "state=online").await?;
        let sentinel_at = free()?;
        let path = of_sentinel.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 2000\n",
            sentinel_at.port(),
            of_sentinel.path().display()
        );
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        let sentinel = Child::start(Path::new("/usr/bin/redis-sentinel"), &[path], &[])?;
        says(sentinel_at, "sentinel", "slaves=1").await?;
        Ok(Self {
            master: Some(master),
            _copy: copy,
            _sentinel: sentinel,
            copy: copy_at,
            sentinel: sentinel_at,
            _folders: folders,
        })
    }

    /// What `--store` wants.
    pub(crate) fn store(&self) -> String {
        format!("redis+sentinel://{}/main", self.sentinel)
    }

    /// kill -9 of the master.
    pub(crate) async fn kill_master(&mut self) -> Result<(), String> {
        match self.master.take() {
            Some(master) => master.kill().await,
            None => Ok(()),
        }
    }
}

/// Waits until `INFO SECTION` of the server at `address` has `text`.
pub(crate) async fn says(address: SocketAddr, section: &str, text: &str) -> Result<(), String> {
    until(&format!("{section} of {address} says {text}"), async || {
        Ok(ask(address, &format!("INFO {section}")).await?.contains(text))
    })
    .await
}

/// What a server answers to a command without spaces in its words, as it came.
pub(crate) async fn ask(address: SocketAddr, command: &str) -> Result<String, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut text = Vec::new();
        while !whole(&text) && stream.read_buf(&mut text).await? > 0 {}
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    match timeout(PATIENCE, exchange).await {
        Ok(done) => done.map_err(|error: std::io::Error| format!("{address}: {error}")),
        Err(_) => Err(format!("{address}: no answer within {PATIENCE:?}")),
    }
}

/// Whether an answer has come to its end: a line, or `$LENGTH` and as many bytes.
fn whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(2).position(|two| two == b"\r\n") else { return false };
    let line = answer.get(..end).and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let length = line.strip_prefix('$').and_then(|length| length.parse::<usize>().ok());
    length.is_none_or(|length| answer.len() >= end + 2 + length + 2)
}

/// A server by itself, with the address at which it answers.
pub(crate) async fn alone() -> Result<(Child, SocketAddr, TempDir), String> {
    let folder = folder()?;
    let (child, address) = server(folder.path(), &[]).await?;
    Ok((child, address, folder))
}

fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("no folder for a server: {error}"))
}

fn free() -> Result<SocketAddr, String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map_err(|error| format!("no free port: {error}"))
}

async fn server(folder: &Path, more: &[&str]) -> Result<(Child, SocketAddr), String> {
    let program = Path::new("/usr/bin/redis-server");
    if !program.is_file() {
        return Err("redis-server is not installed: apt-get install redis-server redis-sentinel".into());
    }
    let address = free()?;
    let (port, dir) = (address.port().to_string(), folder.display().to_string());
    let always = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir", &dir];
    let child = Child::start(program, &[&always[..], more].concat(), &[])?;
    for _ in 0..100 {
        if ask(address, "PING").await.is_ok_and(|answer| answer.starts_with("+PONG")) {
            return Ok((child, address));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(format!("redis-server does not start: {}", child.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_to_their_end() {
        for (answer, end) in
            [("+PONG\r\n", true), (":12", false), ("$5\r\nhello", false), ("$5\r\nhello\r\n", true)]
        {
            assert_eq!(whole(answer.as_bytes()), end, "{answer}");
        }
    }
}
