//! One connection to the Redis that takes writes: found, checked, its scripts loaded; every call with a deadline.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline,
    RedisConnectionInfo,
};
use tokio::time::timeout;

use super::scripts::{Script, Scripts};
use super::{HostPort, StoreAddress, Whereabouts};

/// The longest that anything waits for one answer of Redis.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(1);
/// How long a reader of the stream waits inside Redis for a change.
pub(super) const BLOCK: Duration = Duration::from_millis(500);
/// A Sentinel answers from memory; the next one is asked soon.
const SENTINEL_DEADLINE: Duration = Duration::from_millis(300);

/// Why Redis cannot be used at this moment. The text says which part failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Away(pub(super) String);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what was being done.
pub(super) fn away(doing: impl fmt::Display) -> impl Fn(redis::RedisError) -> Away {
    move |error| Away(format!("{doing}: {error}"))
}

/// A Redis that takes writes.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) at: HostPort,
    /// Changes with every failover and restart.
    pub(super) replication: String,
    pub(super) scripts: Scripts,
    connection: MultiplexedConnection,
}

impl Link {
    /// Finds Redis and makes sure that it is the one that takes writes.
    pub(super) async fn open(address: &StoreAddress) -> Result<Self, Away> {
        let at = find(&address.whereabouts).await?;
        let mut connection = connect(&at, address, CALL_DEADLINE).await?;
        let replication = replication(&mut connection).await?;
        let scripts = Scripts::load(&mut connection).await?;
        Ok(Self { at, replication, scripts, connection })
    }

    /// A second connection, for reads that wait.
    pub(super) async fn reader(&self, address: &StoreAddress) -> Result<MultiplexedConnection, Away> {
        connect(&self.at, address, BLOCK + CALL_DEADLINE).await
    }

    /// Whether this is still the Redis that it was, and the one to write to.
    pub(super) async fn check(&mut self, address: &StoreAddress) -> Result<(), Away> {
        if replication(&mut self.connection).await? != self.replication {
            return Err(Away(format!("{}: the replication id changed", self.at)));
        }
        if let Whereabouts::Sentinel { .. } = &address.whereabouts {
            // Sentinels that do not answer prove nothing about the Redis that does.
            if let Ok(at) = find(&address.whereabouts).await
                && at != self.at
            {
                return Err(Away(format!("the Sentinels say {at} now, not {}", self.at)));
            }
        }
        Ok(())
    }

    /// Runs `script`.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: Script,
        arguments: &[String],
    ) -> Result<T, Away> {
        let command = self.scripts.command(script, arguments);
        let mut connection = self.connection.clone();
        let answer = timeout(CALL_DEADLINE, command.query_async(&mut connection)).await;
        answer.map_err(|_| self.silent(script.name()))?.map_err(away(script.name()))
    }

    /// Runs `pipeline` as one round trip.
    pub(super) async fn pipe<T: FromRedisValue>(&self, doing: &str, pipeline: &Pipeline) -> Result<T, Away> {
        let mut connection = self.connection.clone();
        let answer = timeout(CALL_DEADLINE, pipeline.query_async(&mut connection)).await;
        answer.map_err(|_| self.silent(doing))?.map_err(away(doing))
    }

    /// Runs one command.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Away> {
        let mut connection = self.connection.clone();
        let answer = timeout(CALL_DEADLINE, command.query_async(&mut connection)).await;
        answer.map_err(|_| self.silent("a read"))?.map_err(away("a read"))
    }

    fn silent(&self, doing: &str) -> Away {
        Away(format!("{}: no answer to {doing} within {} ms", self.at, CALL_DEADLINE.as_millis()))
    }
}

/// A connection of somebody else's to the Redis that takes writes; an answer on it has `deadline`. The error says what failed.
pub async fn connect_to_master(
    address: &StoreAddress,
    deadline: Duration,
) -> Result<MultiplexedConnection, String> {
    let open = async {
        let at = find(&address.whereabouts).await?;
        let mut connection = connect(&at, address, deadline).await?;
        replication(&mut connection).await?;
        Ok(connection)
    };
    open.await.map_err(|Away(why)| why)
}

/// The address of the Redis that takes writes, by the first Sentinel that knows it.
async fn find(whereabouts: &Whereabouts) -> Result<HostPort, Away> {
    let (sentinels, master) = match whereabouts {
        Whereabouts::Fixed(at) => return Ok(at.clone()),
        Whereabouts::Sentinel { sentinels, master } => (sentinels, master),
    };
    let mut reasons = Vec::new();
    for sentinel in sentinels {
        match timeout(SENTINEL_DEADLINE, ask(sentinel, master)).await {
            Ok(Ok(at)) => return Ok(at),
            Ok(Err(why)) => reasons.push(format!("{sentinel}: {why}")),
            Err(_) => reasons.push(format!("{sentinel}: no answer")),
        }
    }
    Err(Away(format!("no Sentinel knows '{master}': {}", reasons.join("; "))))
}

async fn ask(sentinel: &HostPort, master: &str) -> Result<HostPort, Away> {
    let bare = RedisConnectionInfo::default();
    let mut connection = connect_as(sentinel, bare, SENTINEL_DEADLINE).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    let answer: Option<(String, u16)> =
        command.query_async(&mut connection).await.map_err(away("get-master-addr-by-name"))?;
    let (host, port) = answer.ok_or_else(|| Away("it does not watch that name".into()))?;
    Ok(HostPort { host, port })
}

async fn connect(
    at: &HostPort,
    address: &StoreAddress,
    deadline: Duration,
) -> Result<MultiplexedConnection, Away> {
    let password = address.password.as_ref().map(|password| password.expose().to_owned());
    let login = RedisConnectionInfo { db: address.db.into(), password, ..RedisConnectionInfo::default() };
    connect_as(at, login, deadline).await
}

async fn connect_as(
    at: &HostPort,
    login: RedisConnectionInfo,
    deadline: Duration,
) -> Result<MultiplexedConnection, Away> {
    let doing = format!("connecting to {at}");
    let info = ConnectionInfo { addr: ConnectionAddr::Tcp(at.host.clone(), at.port), redis: login };
    let client = Client::open(info).map_err(away(&doing))?;
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(CALL_DEADLINE).set_response_timeout(deadline);
    // The time limit of the crate covers the connection, this one also what is said first on it.
    let opened = timeout(CALL_DEADLINE, client.get_multiplexed_async_connection_with_config(&config)).await;
    opened.map_err(|_| Away(format!("{doing}: no answer")))?.map_err(away(&doing))
}

/// The replication id, if this one is a master.
async fn replication(connection: &mut MultiplexedConnection) -> Result<String, Away> {
    let mut command = redis::cmd("INFO");
    command.arg("replication");
    let answer = timeout(CALL_DEADLINE, command.query_async::<String>(connection)).await;
    let text = answer.map_err(|_| Away("no answer to INFO".into()))?.map_err(away("INFO"))?;
    read_replication(&text)
}

/// Reads the answer to INFO replication.
fn read_replication(text: &str) -> Result<String, Away> {
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    match (field("role"), field("master_replid")) {
        (Some("master"), Some(id)) if !id.is_empty() => Ok(id.to_owned()),
        (Some("master"), _) => Err(Away("INFO replication shows no replication id".into())),
        (role, _) => Err(Away(format!("it is not the master: its role is {}", role.unwrap_or("unknown")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_master_is_written_to() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:abc\r\n";
        assert_eq!(read_replication(info), Ok("abc".into()));
        assert!(read_replication("role:slave\r\nmaster_replid:abc\r\n").is_err());
        assert!(read_replication("role:master\r\n").is_err());
        assert!(read_replication("").is_err());
    }
}
