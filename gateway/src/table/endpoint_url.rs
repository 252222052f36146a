//! Where an endpoint is: what a registrant may say, and what only an operator may.

use std::fmt;

use vertice_config::gateway::UnixPath;
use vertice_registry_api::url::Scheme;
use vertice_registry_api::{ServiceName, ServiceUrl};

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointUrl {
    /// In the network.
    Http(ServiceUrl),
    /// On this machine. No registration can say so.
    Unix {
        /// Its socket.
        path: UnixPath,
        /// Whose: a socket has no host to ask for.
        service: ServiceName,
    },
}

impl EndpointUrl {
    /// Whether it is spoken to inside TLS.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Http(url) => url.scheme(),
            Self::Unix { .. } => Scheme::Http,
        }
    }

    /// What stands before every request path.
    pub fn base(&self) -> &str {
        match self {
            Self::Http(url) => url.base(),
            Self::Unix { .. } => "",
        }
    }

    /// As it stands in a Host header of our own requests.
    pub fn authority(&self) -> String {
        match self {
            Self::Http(url) => url.authority(),
            Self::Unix { service, .. } => service.to_string(),
        }
    }
}

impl PartialEq<ServiceUrl> for EndpointUrl {
    fn eq(&self, other: &ServiceUrl) -> bool {
        matches!(self, Self::Http(url) if url == other)
    }
}

impl From<ServiceUrl> for EndpointUrl {
    fn from(url: ServiceUrl) -> Self {
        Self::Http(url)
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Unix { path, .. } => path.fmt(f),
        }
    }
}
