//! TLS to endpoints with an `https` URL: who is believed, by which name, and what we show of ourselves.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vertice_config::gateway::{GatewayConfig, UpstreamTlsConfig};
use vertice_registry_api::{Host, ServiceName, ServiceUrl};

use super::error::Failure;
use crate::credentials::watch::{Look, WatchState, Watched};
use crate::credentials::{CredentialError, pem, provider};
use crate::table::Protocol;

/// Between two log lines about one service: each failed connection would be one.
const QUIET: Duration = Duration::from_secs(10);

/// How `protocol` is offered (ALPN, RFC 7301).
fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    }
}

/// How all services are connected to.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    general: Arc<ServiceTls>,
    services: BTreeMap<ServiceName, Arc<ServiceTls>>,
}

impl UpstreamTls {
    /// Loads what `config` names; every file that cannot be used. What `before` has under the same rules stays.
    pub fn load(config: &GatewayConfig, before: Option<&Self>) -> Result<Self, Vec<CredentialError>> {
        let known: Vec<_> = before.iter().flat_map(|before| before.services()).collect();
        let system = match before {
            Some(before) => before.general.system.clone(),
            None => Arc::new(system_roots()),
        };
        let mut errors = Vec::new();
        let mut load = |what: &str, config: &UpstreamTlsConfig| {
            if let Some(same) = known.iter().find(|known| known.what == what && known.config == *config) {
                return Some((*same).clone());
            }
            let loaded = ServiceTls::load(what, config, &system);
            loaded.map_err(|found| errors.extend(found)).ok().map(Arc::new)
        };
        let general = load("[upstream_tls]", &config.upstream_tls);
        let mut services = BTreeMap::new();
        for service in &config.services {
            let Some(tls) = &service.tls else { continue };
            if let Some(loaded) = load(service.name.as_str(), tls) {
                services.insert(service.name.clone(), loaded);
            }
        }
        match general {
            Some(general) if errors.is_empty() => Ok(Self { general, services }),
            _ => {
                // What is inherited is found wrong once for each heir.
                errors.dedup();
                Err(errors)
            }
        }
    }

    /// How an endpoint of `service` at `url` is connected to; an `http` URL asks for none.
    pub fn endpoint(&self, service: &ServiceName, url: &ServiceUrl) -> Result<EndpointTls, String> {
        Self::towards(self.services.get(service).unwrap_or(&self.general), url)
    }

    /// How what is at `url` and is no service of its own is connected to.
    pub fn general(&self, url: &ServiceUrl) -> Result<EndpointTls, String> {
        Self::towards(&self.general, url)
    }

    fn towards(service: &Arc<ServiceTls>, url: &ServiceUrl) -> Result<EndpointTls, String> {
        let service = service.clone();
        let name = match (&service.config.server_name, url.host()) {
            (Some(name), _) => ServerName::try_from(name.trim_matches(['[', ']']).to_owned()),
            (None, Host::Name(name)) => ServerName::try_from(name.to_string()),
            (None, Host::Ip(ip)) => Ok(ServerName::IpAddress((*ip).into())),
        };
        let name =
            name.map_err(|_| format!("{url}: no certificate can be for this host: set `server_name`"))?;
        Ok(EndpointTls { service, name })
    }

    /// The rules of all services without their own, and those of each that has.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceTls>> {
        std::iter::once(&self.general).chain(self.services.values())
    }
}

impl PartialEq for UpstreamTls {
    /// Whether connections are made by the very same rules.
    fn eq(&self, other: &Self) -> bool {
        let (mine, others) = (self.services.iter(), other.services.iter());
        Arc::ptr_eq(&self.general, &other.general)
            && self.services.len() == other.services.len()
            && mine.zip(others).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
    }
}

/// The authorities that the system trusts. What of them cannot be read is left out, as every program does.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// How the endpoints of one service are connected to; swapped when its files change.
pub struct ServiceTls {
    what: String,
    config: UpstreamTlsConfig,
    system: Arc<RootCertStore>,
    current: ArcSwap<ClientConfig>,
    watch: Mutex<WatchState>,
    told: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for ServiceTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceTls").field("what", &self.what).finish_non_exhaustive()
    }
}

impl ServiceTls {
    fn load(
        what: &str,
        config: &UpstreamTlsConfig,
        system: &Arc<RootCertStore>,
    ) -> Result<Self, Vec<CredentialError>> {
        let watch = Mutex::new(WatchState::new(look(config)));
        let current = ArcSwap::from_pointee(client_config(config, system)?);
        Ok(Self {
            what: what.to_owned(),
            config: config.clone(),
            system: system.clone(),
            current,
            watch,
            told: Mutex::default(),
        })
    }

    fn tell(&self, name: &ServerName<'_>, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= QUIET) {
            *told = Some(Instant::now());
            let name = name.to_str();
            tracing::warn!(tls = self.what, %name, %error, "no TLS connection to a service");
        }
    }
}

impl Watched for ServiceTls {
    fn look(&self) -> Look {
        look(&self.config)
    }

    fn state(&self) -> &Mutex<WatchState> {
        &self.watch
    }

    fn reload(&self) {
        match client_config(&self.config, &self.system) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                tracing::info!(tls = self.what, "files changed: new connections to services use them");
            }
            Err(errors) => {
                for error in errors {
                    tracing::error!(tls = self.what, %error, "files changed and cannot be used; what was loaded stays");
                }
            }
        }
    }
}

fn look(config: &UpstreamTlsConfig) -> Look {
    let client = config.client.iter().flat_map(|pair| [&pair.cert.value, &pair.key.value]);
    let files = config.ca.iter().map(|ca| &ca.value).chain(client);
    Look::at(files.map(|path| -> &Path { path }), None)
}

fn client_config(
    config: &UpstreamTlsConfig,
    system: &Arc<RootCertStore>,
) -> Result<ClientConfig, Vec<CredentialError>> {
    let roots = match &config.ca {
        Some(ca) => pem::authorities(&ca.value, &ca.at),
        None => Ok(system.clone()),
    };
    let client = config.client.as_ref().map(pem::credential).transpose();
    let (roots, client) = match (roots, client) {
        (Ok(roots), Ok(client)) => (roots, client),
        (roots, client) => return Err(roots.err().into_iter().chain(client.err()).collect()),
    };
    let unusable = |error: &dyn std::fmt::Display| {
        let place = config.ca.clone().unwrap_or_else(|| vertice_config::Placed {
            value: "the system's authorities".into(),
            at: vertice_config::Place::default(),
        });
        vec![CredentialError {
            at: place.at,
            file: place.value,
            wrong: format!("cannot be used: {error}"),
            right: "give the certificates of authorities",
        }]
    };
    let verifier: Arc<dyn ServerCertVerifier> = if !config.verify || (roots.is_empty() && config.ca.is_none())
    {
        // A system without authorities trusts nobody; one who asks not to verify trusts all.
        Arc::new(Unverified {
            algorithms: provider().signature_verification_algorithms,
            trust: !config.verify,
        })
    } else {
        WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|e| unusable(&e))?
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut made = match client {
        Some(client) => {
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(client.key)))
        }
        None => builder.with_no_client_auth(),
    };
    made.alpn_protocols = alpn(Protocol::Http1);
    Ok(made)
}

/// Believes everybody, where the operator wants that, or nobody.
#[derive(Debug)]
struct Unverified {
    algorithms: WebPkiSupportedAlgorithms,
    trust: bool,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "this system has no trusted authorities: name a `ca`, or install ca-certificates".into(),
        ))
    }

    // Whoever it is must still hold the key of the certificate that is shown.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// How one endpoint is connected to.
#[derive(Clone, Debug)]
pub struct EndpointTls {
    service: Arc<ServiceTls>,
    name: ServerName<'static>,
}

impl EndpointTls {
    /// Whether connections made by `other` are what this would make.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.service, &other.service) && self.name == other.name
    }

    /// The handshake on `stream`, offering `protocol`. Takes as long as the endpoint does: the caller has the deadline.
    pub async fn connect(
        &self,
        stream: TcpStream,
        protocol: Protocol,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let connector = TlsConnector::from(self.service.current.load_full());
        let connecting = match protocol {
            Protocol::Http1 => connector.connect(self.name.clone(), stream),
            Protocol::Http2 => connector.with_alpn(alpn(protocol)).connect(self.name.clone(), stream),
        };
        let stream = connecting.await.map_err(|error| self.failed(&error))?;
        // RFC 7301 3.2: no word about it means HTTP/1.1, which HTTP/2 cannot be told in.
        match (protocol, stream.get_ref().1.alpn_protocol()) {
            (Protocol::Http2, Some(b"h2")) | (Protocol::Http1, _) => Ok(stream),
            (Protocol::Http2, _) => {
                Err(self.failed(&io::Error::other("the service does not speak HTTP/2 over TLS")))
            }
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.service.tell(&self.name, error);
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match found {
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)) => Failure::Certificate,
            _ => Failure::Tls,
        }
    }
}
