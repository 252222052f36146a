//! The thread that writes access-log blocks; a slow disk stops it alone.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use vertice_config::gateway::AccessLogConfig;

/// Blocks that wait for the disk: 8 MiB at most.
const BLOCKS: usize = 256;

/// Opens the log and starts its thread, which ends when the last sender is dropped.
pub fn start(config: &AccessLogConfig) -> io::Result<SyncSender<Vec<u8>>> {
    let mut out: Box<dyn Write + Send> = match config {
        AccessLogConfig::Stdout => Box::new(io::stdout()),
        AccessLogConfig::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let (sender, blocks) = sync_channel::<Vec<u8>>(BLOCKS);
    std::thread::Builder::new().name("access-log".into()).spawn(move || {
        let mut failing = false;
        for block in blocks {
            let written = out.write_all(&block).and_then(|()| out.flush());
            // Said once per outage: the disk may be full of log already.
            match written {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    tracing::error!(%error, "the access log cannot be written, its lines are lost until it can");
                    failing = true;
                }
                Err(_) => {}
            }
        }
    })?;
    Ok(sender)
}
