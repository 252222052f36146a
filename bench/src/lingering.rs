//! Clients that hold a connection and do little or nothing with it, until they are cut.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Between two bytes of those who send.
const TRICKLE: Duration = Duration::from_millis(500);

/// For a connection, and for the answer of who gets one.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One request, then nothing.
    Idle,
    /// A head, a byte at a time.
    SlowHead,
    /// A head and the first bytes of a body.
    StalledBody,
    /// The same, and then a byte at a time.
    TrickledBody,
}

/// Is one, until it is cut: how many seconds it was kept from its first or last byte on, whichever its deadline counts from.
///
/// `idle` and `slow` are the services that answer and that wait for a whole body.
pub(crate) async fn linger(
    address: SocketAddr,
    manner: Manner,
    (idle, slow): (&str, &str),
) -> Result<f64, String> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(address))
        .await
        .map_err(|_| "no connection".to_owned())?
        .map_err(|error| format!("no connection: {error}"))?;
    let first = match manner {
        Manner::Idle => format!("GET /v2/{idle}/ask HTTP/1.1\r\nhost: bench\r\n\r\n"),
        Manner::SlowHead => format!("GET /v2/{idle}/ask HTTP/1.1\r\nhost: bench\r\nx-slow: "),
        Manner::StalledBody | Manner::TrickledBody => {
            format!("POST /v2/{slow}/ask HTTP/1.1\r\nhost: bench\r\ncontent-length: 1000\r\n\r\n0123456789")
        }
    };
    stream.write_all(first.as_bytes()).await.map_err(|error| format!("sending failed: {error}"))?;
    let mut buffer = Vec::with_capacity(512);
    if manner == Manner::Idle {
        while !buffer.ends_with(b"}") {
            let read = timeout(PATIENCE, stream.read_buf(&mut buffer)).await;
            match read {
                Ok(Ok(1..)) => {}
                other => return Err(format!("no answer: {other:?}")),
            }
        }
    }
    let began = Instant::now();
    let trickles = matches!(manner, Manner::SlowHead | Manner::TrickledBody);
    let mut ticks = interval(TRICKLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reader, mut writer) = stream.split();
    loop {
        buffer.clear();
        tokio::select! {
            read = reader.read_buf(&mut buffer) => match read {
                // What it is told before it is cut.
                Ok(1..) => {}
                Ok(0) | Err(_) => return Ok(began.elapsed().as_secs_f64()),
            },
            _ = ticks.tick(), if trickles => {
                // A failure shows in the next read.
                let _ = writer.write_all(b"x").await;
            }
        }
    }
}
