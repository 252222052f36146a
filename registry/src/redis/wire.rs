//! How commands come to Redis: over TCP, or as the simulation has it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo};
use redis::{RedisError, Value};

use super::HostPort;
use super::link::CALL_DEADLINE;

/// Commands in one round trip; answers in their order.
pub trait Connection: Send + Sync {
    /// Given up by dropping the future, which takes nothing back.
    fn ask(&self, commands: Vec<Cmd>) -> BoxFuture<'_, Result<Vec<Value>, RedisError>>;
}

/// Where connections come from.
pub trait Wire: Send + Sync {
    /// A new one; each answer on it within `deadline`.
    fn connect(
        &self,
        at: HostPort,
        login: RedisConnectionInfo,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, RedisError>>;
}

/// The network.
pub(super) struct Tcp;

impl Wire for Tcp {
    fn connect(
        &self,
        at: HostPort,
        login: RedisConnectionInfo,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Arc<dyn Connection>, RedisError>> {
        async move {
            let connection: Arc<dyn Connection> = Arc::new(tcp(at, login, deadline).await?);
            Ok(connection)
        }
        .boxed()
    }
}

/// A connection over TCP; each answer on it within `deadline`.
pub(super) async fn tcp(
    at: HostPort,
    login: RedisConnectionInfo,
    deadline: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let info = ConnectionInfo { addr: ConnectionAddr::Tcp(at.host, at.port), redis: login };
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(CALL_DEADLINE).set_response_timeout(deadline);
    Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await
}

impl Connection for MultiplexedConnection {
    fn ask(&self, commands: Vec<Cmd>) -> BoxFuture<'_, Result<Vec<Value>, RedisError>> {
        let mut connection = self.clone();
        async move {
            let mut pipeline = redis::Pipeline::with_capacity(commands.len());
            for command in commands {
                pipeline.add_command(command);
            }
            pipeline.query_async(&mut connection).await
        }
        .boxed()
    }
}
