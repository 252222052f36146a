//! Closed-loop load on kept-alive connections with exact counts: every answer is compared, byte for byte.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::tls::Https;

/// Failures that are kept word for word; more are only counted.
const FAILURES_KEPT: usize = 3;

/// A running load; dropping it cuts its connections.
pub(crate) struct Load {
    shared: Rc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    address: SocketAddr,
    https: Option<Rc<Https>>,
    request: Vec<u8>,
    body: Vec<u8>,
    done: Cell<u64>,
    failed: Cell<u64>,
    failures: RefCell<Vec<String>>,
}

impl Load {
    /// Sends `request` to `address` again and again on `connections` connections, inside TLS if `https` says how. An
    /// answer other than 200 with `body` is a failure and ends its connection.
    pub(crate) fn start(
        address: SocketAddr,
        https: Option<Rc<Https>>,
        request: &[u8],
        body: &[u8],
        connections: u32,
    ) -> Self {
        let shared = Rc::new(Shared {
            address,
            https,
            request: request.to_vec(),
            body: body.to_vec(),
            done: Cell::default(),
            failed: Cell::default(),
            failures: RefCell::default(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let shared = shared.clone();
            clients.spawn_local(async move {
                if let Err(error) = client(&shared).await {
                    shared.failed.set(shared.failed.get() + 1);
                    let mut failures = shared.failures.borrow_mut();
                    if failures.len() < FAILURES_KEPT {
                        failures.push(error);
                    }
                }
            });
        }
        Self { shared, clients }
    }

    /// Requests that were answered well so far.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.get()
    }

    /// Ends it: what went wrong, if something did.
    pub(crate) fn stop(self) -> Result<(), String> {
        drop(self.clients);
        match self.shared.failed.get() {
            0 => Ok(()),
            failed => Err(format!("{failed} failed: {}", self.shared.failures.borrow().join("; "))),
        }
    }
}

async fn client(shared: &Shared) -> Result<(), String> {
    let mut connection = Connection::open_as(shared.address, shared.https.as_deref()).await?;
    loop {
        let answer = connection.exchange(&shared.request).await?;
        if answer.status != 200 || answer.body != shared.body {
            let body: String = String::from_utf8_lossy(answer.body).chars().take(200).collect();
            return Err(format!("{} {body}", answer.status));
        }
        shared.done.set(shared.done.get() + 1);
    }
}
