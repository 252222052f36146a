//! A service in this process that says its name and the target that it was asked for.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Longest head that it reads: requests of a benchmark are short.
const HEAD_BYTES: usize = 16 * 1024;

/// Stops listening when dropped; open connections end with their peers.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    accepting: AbortHandle,
    asked: Rc<Asked>,
}

/// Requests that came, health checks not counted.
#[derive(Debug, Default)]
struct Asked {
    count: Cell<u64>,
    last: Cell<Option<Instant>>,
}

/// What it answers.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Echo<'a> {
    /// Its name.
    pub(crate) stub: &'a str,
    /// The target as it came.
    pub(crate) target: &'a str,
}

impl Stub {
    /// Starts one on a free port of loopback.
    pub(crate) async fn start(name: &'static str) -> Result<Self, String> {
        let listen = async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen.await.map_err(|error: std::io::Error| format!("stub: {error}"))?;
        let name: Rc<str> = name.into();
        let asked = Rc::<Asked>::default();
        let counted = asked.clone();
        let accepting = tokio::task::spawn_local(async move {
            // An error of accept is one connection's; the client notices.
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let (name, counted) = (name.clone(), counted.clone());
                    tokio::task::spawn_local(async move { serve(stream, &name, &counted).await });
                }
            }
        });
        Ok(Self { address, accepting: accepting.abort_handle(), asked })
    }

    /// Requests so far, health checks not counted.
    pub(crate) fn requests(&self) -> u64 {
        self.asked.count.get()
    }

    /// When the last of them came.
    pub(crate) fn last_request(&self) -> Option<Instant> {
        self.asked.last.get()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers requests without a body until the peer closes or sends something else. `None`: it is over.
async fn serve(mut stream: TcpStream, name: &str, asked: &Asked) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        buffer.clear();
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await.ok()? == 0 || buffer.len() > HEAD_BYTES {
                return None;
            }
        }
        let target = std::str::from_utf8(&buffer).ok()?.split(' ').nth(1)?;
        if target != "/health" {
            asked.count.set(asked.count.get() + 1);
            asked.last.set(Some(Instant::now()));
        }
        let body = format!("{{\"stub\":\"{name}\",\"target\":\"{target}\"}}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
