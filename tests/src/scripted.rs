//! An endpoint that answers with exact bytes, for what a well-behaved server never sends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A scripted endpoint; it is healthy and gives every other request the same bytes.
#[derive(Debug)]
pub struct Scripted {
    /// Where it listens.
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Reads a request up to where `until` stands in it, writes `answer`, and closes.
    pub async fn start(until: &'static str, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, until, answer, seen.clone()));
            }
        });
        Self { url, requests }
    }

    /// What came of each request, health checks left out.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn converse(mut stream: TcpStream, until: &str, answer: &str, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = String::new();
    let mut bytes = [0; 4096];
    let health = "GET /health ";
    while !(request.contains(until) || (request.starts_with(health) && request.ends_with("\r\n\r\n"))) {
        match stream.read(&mut bytes).await {
            Ok(length @ 1..) => request.push_str(&String::from_utf8_lossy(&bytes[..length])),
            _ => return,
        }
    }
    let answer = if request.starts_with(health) {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    } else {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        answer
    };
    // The peer may be gone: then nobody wants the answer.
    let _ = stream.write_all(answer.as_bytes()).await;
}
