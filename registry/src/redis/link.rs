//! One connection to the Redis that takes writes: found, checked, its scripts loaded; every call with a deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisConnectionInfo, RedisError, Value, from_owned_redis_value};
use tokio::time::timeout;

use super::scripts::{Script, Scripts};
use super::wire::{self, Connection, Tcp, Wire};
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
    connection: Arc<dyn Connection>,
}

impl Link {
    /// Finds Redis and makes sure that it is the one that takes writes.
    pub(super) async fn open(wire: &dyn Wire, address: &StoreAddress) -> Result<Self, Away> {
        let at = find(wire, &address.whereabouts).await?;
        let connection = connect(wire, &at, address, CALL_DEADLINE).await?;
        let replication = replication(&*connection).await?;
        let scripts = Scripts::load(&*connection).await?;
        Ok(Self { at, replication, scripts, connection })
    }

    /// A second connection, for reads that wait.
    pub(super) async fn reader(
        &self,
        wire: &dyn Wire,
        address: &StoreAddress,
    ) -> Result<Arc<dyn Connection>, Away> {
        connect(wire, &self.at, address, BLOCK + CALL_DEADLINE).await
    }

    /// Whether this is still the Redis that it was, and the one to write to.
    pub(super) async fn check(&self, wire: &dyn Wire, address: &StoreAddress) -> Result<(), Away> {
        if replication(&*self.connection).await? != self.replication {
            return Err(Away(format!("{}: the replication id changed", self.at)));
        }
        if let Whereabouts::Sentinel { .. } = &address.whereabouts {
            // Sentinels that do not answer prove nothing about the Redis that does.
            if let Ok(at) = find(wire, &address.whereabouts).await
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
        self.one(script.name(), self.scripts.command(script, arguments)).await
    }

    /// Runs one command.
    pub(super) async fn call<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Away> {
        self.one("a read", command).await
    }

    async fn one<T: FromRedisValue>(&self, doing: &str, command: Cmd) -> Result<T, Away> {
        let answer = timeout(CALL_DEADLINE, query(&*self.connection, command)).await;
        answer.map_err(|_| self.silent(doing))?.map_err(away(doing))
    }

    /// Runs `commands` as one round trip.
    pub(super) async fn pipe<T: FromRedisValue>(
        &self,
        doing: &str,
        commands: Vec<Cmd>,
    ) -> Result<Vec<T>, Away> {
        let answer = timeout(CALL_DEADLINE, self.connection.ask(commands)).await;
        let answers = answer.map_err(|_| self.silent(doing))?.map_err(away(doing))?;
        answers.into_iter().map(from_owned_redis_value).collect::<Result<_, _>>().map_err(away(doing))
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
        let at = find(&Tcp, &address.whereabouts).await?;
        let doing = format!("connecting to {at}");
        let opened = timeout(CALL_DEADLINE, wire::tcp(at, login(address), deadline)).await;
        let connection = opened.map_err(|_| Away(format!("{doing}: no answer")))?.map_err(away(&doing))?;
        replication(&connection).await?;
        Ok(connection)
    };
    open.await.map_err(|Away(why)| why)
}

/// The answer to `command`.
pub(super) async fn query<T: FromRedisValue>(
    connection: &dyn Connection,
    command: Cmd,
) -> Result<T, RedisError> {
    let answer = connection.ask(vec![command]).await?.into_iter().next();
    from_owned_redis_value(answer.unwrap_or(Value::Nil))
}

/// The address of the Redis that takes writes, by the first Sentinel that knows it.
async fn find(wire: &dyn Wire, whereabouts: &Whereabouts) -> Result<HostPort, Away> {
    let (sentinels, master) = match whereabouts {
        Whereabouts::Fixed(at) => return Ok(at.clone()),
        Whereabouts::Sentinel { sentinels, master } => (sentinels, master),
    };
    let mut reasons = Vec::new();
    for sentinel in sentinels {
        match timeout(SENTINEL_DEADLINE, ask(wire, sentinel, master)).await {
            Ok(Ok(at)) => return Ok(at),
            Ok(Err(why)) => reasons.push(format!("{sentinel}: {why}")),
            Err(_) => reasons.push(format!("{sentinel}: no answer")),
        }
    }
    Err(Away(format!("no Sentinel knows '{master}': {}", reasons.join("; "))))
}

async fn ask(wire: &dyn Wire, sentinel: &HostPort, master: &str) -> Result<HostPort, Away> {
    let bare = RedisConnectionInfo::default();
    let connection = connect_as(wire, sentinel, bare, SENTINEL_DEADLINE).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    let answer: Option<(String, u16)> =
        query(&*connection, command).await.map_err(away("get-master-addr-by-name"))?;
    let (host, port) = answer.ok_or_else(|| Away("it does not watch that name".into()))?;
    Ok(HostPort { host, port })
}

async fn connect(
    wire: &dyn Wire,
    at: &HostPort,
    address: &StoreAddress,
    deadline: Duration,
) -> Result<Arc<dyn Connection>, Away> {
    connect_as(wire, at, login(address), deadline).await
}

fn login(address: &StoreAddress) -> RedisConnectionInfo {
    let password = address.password.as_ref().map(|password| password.expose().to_owned());
    RedisConnectionInfo { db: address.db.into(), password, ..RedisConnectionInfo::default() }
}

async fn connect_as(
    wire: &dyn Wire,
    at: &HostPort,
    login: RedisConnectionInfo,
    deadline: Duration,
) -> Result<Arc<dyn Connection>, Away> {
    let doing = format!("connecting to {at}");
    // The time limit of the wire covers the connection, this one also what is said first on it.
    let opened = timeout(CALL_DEADLINE, wire.connect(at.clone(), login, deadline)).await;
    opened.map_err(|_| Away(format!("{doing}: no answer")))?.map_err(away(&doing))
}

/// The replication id, if this one is a master.
async fn replication(connection: &dyn Connection) -> Result<String, Away> {
    let mut command = redis::cmd("INFO");
    command.arg("replication");
    let answer = timeout(CALL_DEADLINE, query::<String>(connection, command)).await;
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
