//! Certificates made on the spot, a TLS client that says what it saw, and a gateway with HTTPS in front.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::{Answer, Connection, request};
use crate::process::Program;
use crate::system::{Gateway, address_in};
use crate::wait::{PATIENCE, eventually};

/// An authority of the tests.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one, called `name`.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server's certificate for `names`.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.issue(names, |_| {})
    }

    /// One that was over in 2020.
    pub fn expired(&self, names: &[&str]) -> Pair {
        self.issue(names, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    /// A client's certificate, called `name` and with this URI.
    pub fn client(&self, name: &str, uri: &str) -> Pair {
        self.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        })
    }

    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a client is that believes this authority.
    pub fn trusting(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Client {
            roots: Arc::new(roots),
            shows: None,
            versions: vec![&TLS13, &TLS12],
            alpn: Vec::new(),
            config: None,
        }
    }

    /// A server's side with a certificate for `names`; with `clients`, one that asks for certificates of that authority.
    pub fn acceptor(&self, names: &[&str], clients: Option<&Self>) -> Arc<ServerConfig> {
        let pair = self.server(names);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.issuer.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        Arc::new(builder.with_single_cert(vec![pair.cert()], pair.key()).unwrap())
    }
}

impl Pair {
    /// Puts both into `folder` as `name.crt` and `name.key`, each at once.
    pub fn put(&self, folder: &Path, name: &str) {
        replace(&folder.join(format!("{name}.crt")), &self.cert);
        replace(&folder.join(format!("{name}.key")), &self.key);
    }

    fn cert(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// The certificate's bytes.
    pub fn der(&self) -> Vec<u8> {
        self.cert().to_vec()
    }
}

/// Writes `text` to `path` as certificate tools do: beside it, then in its place.
pub fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A client to be.
#[derive(Clone, Debug)]
pub struct Client {
    roots: Arc<RootCertStore>,
    shows: Option<Pair>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    config: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Shows `pair` when it is asked who it is.
    #[must_use]
    pub fn showing(mut self, pair: &Pair) -> Self {
        self.shows = Some(pair.clone());
        self
    }

    /// Speaks TLS 1.2 only.
    #[must_use]
    pub fn tls12(mut self) -> Self {
        self.versions = vec![&TLS12];
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Remembers sessions from one connection to the next.
    #[must_use]
    pub fn remembering(mut self) -> Self {
        self.config = Some(self.build());
        self
    }

    fn build(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.shows {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_auth_cert(vec![pair.cert()], pair.key()).unwrap(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    /// The handshake alone.
    pub async fn handshake(&self, address: SocketAddr, name: &str) -> Result<TlsStream<TcpStream>, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(self.config.clone().unwrap_or_else(|| self.build()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        match timeout(PATIENCE, connector.connect(name, stream)).await {
            Ok(done) => done.map_err(|error| format!("handshake: {error}")),
            Err(_) => Err(format!("no handshake within {PATIENCE:?}")),
        }
    }

    /// A connection for requests, and what its handshake came to.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> Result<(Connection, Seen), String> {
        let stream = self.handshake(address, name).await?;
        let seen = Seen::of(&stream);
        let connection = Connection::over(stream, address).await.map_err(|error| error.0)?;
        Ok((connection, seen))
    }

    /// GET on a connection of its own that asks for `name` in both places.
    pub async fn get(&self, address: SocketAddr, name: &str, target: &str) -> Result<Answer, String> {
        let (mut connection, _) = self.connect(address, name).await?;
        connection.send(request("GET", target, &[("host", name)], "")).await.map_err(|error| error.0)
    }
}

/// What a client saw of a handshake.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The server's own certificate.
    pub certificate: Vec<u8>,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// `h2`, `http/1.1` or nothing.
    pub alpn: Option<String>,
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
}

impl Seen {
    /// What `stream` came to.
    pub fn of(stream: &TlsStream<TcpStream>) -> Self {
        let session = stream.get_ref().1;
        Self {
            certificate: session.peer_certificates().and_then(|chain| chain.first()).unwrap().to_vec(),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            version: format!("{:?}", session.protocol_version().unwrap()),
        }
    }
}

/// A folder for certificates, and the configuration of a gateway that uses it.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

impl Default for Folder {
    fn default() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

impl Folder {
    /// Its `tls` folder, where certificates lie.
    pub fn certificates(&self) -> PathBuf {
        let path = self.folder.path().join("tls");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes `text` as `name`; the path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The path of a configuration with one HTTPS listener whose `[listener.tls]` says `lines`, and `rest`.
    pub fn config(&self, lines: &str, rest: &str) -> String {
        let text = format!(
            "[[listener]]\nname = \"secure\"\naddress = \"127.0.0.1:0\"\n[listener.tls]\n{lines}\n{rest}"
        );
        self.write("gateway.toml", &text)
    }

    /// A line for `config`: all pairs of [`Folder::certificates`].
    pub fn all(&self) -> String {
        format!("directory = \"{}\"", self.certificates().display())
    }
}

/// A gateway with the listener of [`Folder::config`], in front of the registry at `registry`, ready.
pub async fn start_gateway(registry: &str, config: &str) -> Gateway {
    let arguments =
        ["run", "--config", config, "--admin", "127.0.0.1:0", "--registry", registry, "--workers", "2"];
    let mut program = Program::start("vertice-gateway", &arguments, &[]);
    let admin = program.line("its admin address", |line| address_in(line, "admin listening")).await;
    let address = program.line("its address", |line| address_in(line, "listening listener=")).await;
    let gateway = Gateway { program, address, admin };
    gateway.ready().await;
    gateway
}

/// Waits until the value of `series` is `wanted`: a client knows of a handshake's end before the counter does.
pub async fn counts(gateway: &Gateway, series: &str, wanted: u32) {
    eventually(PATIENCE, &format!("{series} is {wanted}"), async || {
        ((metric(gateway, series).await? - f64::from(wanted)).abs() < 0.5).then_some(())
    })
    .await;
}

/// The value of a line of `/metrics` that begins with `series`.
pub async fn metric(gateway: &Gateway, series: &str) -> Option<f64> {
    let text = crate::http::get(gateway.admin, "/metrics").await.text();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}
