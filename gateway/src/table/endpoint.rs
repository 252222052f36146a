//! An instance as the gateway sees it.

use std::sync::Arc;

use vertice_registry_api::{HealthPath, InstanceId, Metadata, Status};

use super::endpoint_url::EndpointUrl;
use crate::health::EndpointHealth;
use crate::upstream::EndpointTls;

/// Dense, for arrays that workers index; the serial tells apart two endpoints that had the same index one after the
/// other, so that nothing kept for the first is ever used for the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId {
    /// A small number, used again after its endpoint is gone.
    pub index: usize,
    /// Never used again.
    pub serial: u64,
}

/// Who said that this endpoint exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A registry, on behalf of this principal.
    Registry {
        /// Who registered it.
        registered_by: String,
        /// When, in milliseconds since 1970, by the registry's clock.
        registered_at_ms: u64,
    },
    /// The operator, in the configuration or the environment. Exempt from the endpoint policy.
    Operator,
}

/// What it takes to be healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// 2xx at the health path.
    Http,
    /// A connection: the metadata say `health = tcp`.
    Tcp,
    /// The gRPC health service says SERVING: the metadata say `health = grpc`.
    Grpc {
        /// Of which service of the server, from the metadata `grpc_service`; empty: of the server.
        service: Box<str>,
    },
}

/// What an endpoint is spoken to in. TLS or not is its URL's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without asking first: the metadata say `protocol = h2c`, `h2` or `grpc`.
    Http2,
}

impl Protocol {
    /// What the metadata of an instance say; a word that is not known here says nothing.
    pub fn of(metadata: &Metadata) -> Self {
        match metadata.get("protocol") {
            Some("h2c" | "h2" | "grpc") => Self::Http2,
            _ => Self::Http1,
        }
    }

    /// As in `/services`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// What is known of one instance before it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Which copy.
    pub instance_id: InstanceId,
    /// Where.
    pub url: EndpointUrl,
    /// Where it says that it is healthy.
    pub health: HealthPath,
    /// What it takes.
    pub check: CheckKind,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its share.
    pub weight: u16,
    /// The word that counts: its owner's, or an operator's.
    pub status: Status,
    /// What it runs.
    pub version: Option<String>,
    /// The registry or the gateway keeps it although its lease or its entry is gone; the reason.
    pub held: Option<String>,
    /// Who said so.
    pub origin: Origin,
}

/// An accepted instance.
#[derive(Debug)]
pub struct Endpoint {
    /// Its identity in worker arrays.
    pub id: EndpointId,
    /// What was said of it.
    pub spec: EndpointSpec,
    /// How it is connected to, where its URL is `https`.
    pub tls: Option<EndpointTls>,
    /// What was found out about it; stays with the id.
    pub health: Arc<EndpointHealth>,
}

impl Endpoint {
    /// Whether requests may go to it at all.
    pub fn takes_requests(&self) -> bool {
        self.spec.status == Status::Up
    }
}
