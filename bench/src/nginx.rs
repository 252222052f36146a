//! nginx, as the upstream that everybody shares and as a peer that is measured.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tempfile::TempDir;

use crate::child::Child;
use crate::connection::Connection;
use crate::programs::until;
use crate::tls::Https;

/// Where Debian puts it, and where others do.
const PLACES: [&str; 3] = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];

/// A running nginx with two workers.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    // After the child: it is gone when its folder goes.
    _folder: TempDir,
}

/// What a proxying nginx adds to a request and to its answer beyond the forwarded headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestId {
    /// Nothing.
    Without,
    /// `X-Request-ID`, on the way to the service and on the answer, as our gateway does.
    With,
}

/// A service: every path is answered with `body`.
pub(crate) async fn constant(body: &str) -> Result<Nginx, String> {
    let server = format!("location / {{ default_type application/json; return 200 '{body}'; }}");
    start("", "", &server).await
}

/// A reverse proxy that does the work that the gateway does for `/v2/{service}/...`.
///
/// Inside TLS if `https` says how.
pub(crate) async fn proxy(
    service: &str,
    upstream: SocketAddr,
    id: RequestId,
    https: Option<&Https>,
) -> Result<Nginx, String> {
    let pool =
        format!("upstream service {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}");
    let id = match id {
        RequestId::Without => "",
        RequestId::With => {
            "proxy_set_header X-Request-ID $request_id; add_header X-Request-ID $request_id always;"
        }
    };
    let server = format!(
        "location /v2/{service}/ {{
            proxy_pass http://service/;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header Forwarded \"for=$remote_addr;proto=$scheme;host=\\\"$http_host\\\"\";
            {id}
        }}"
    );
    match https {
        None => start(&pool, "", &server).await,
        Some(https) => start(&pool, "ssl", &format!("{} {server}", https.nginx())).await,
    }
}

/// nginx's version, as it says it.
pub(crate) fn version() -> Result<String, String> {
    let output = std::process::Command::new(program()?).arg("-v").output();
    let output = output.map_err(|error| format!("nginx -v: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("nginx version: ").to_owned())
}

fn program() -> Result<&'static Path, String> {
    PLACES
        .iter()
        .map(Path::new)
        .find(|place| place.is_file())
        .ok_or_else(|| "nginx is not installed (apt-get install nginx)".into())
}

async fn start(http: &str, listen: &str, server: &str) -> Result<Nginx, String> {
    let program = program()?;
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for nginx: {error}"))?;
    let address = free_address()?;
    let path = folder.path().join("nginx.conf");
    let shown = folder.path().display();
    let text = format!(
        "daemon off; worker_processes 2; pid {shown}/pid; error_log stderr crit;
        events {{ worker_connections 16384; }}
        http {{
            access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;
            client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;
            uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;
            {http}
            server {{ listen {address} {listen} backlog=4096; {server} }}
        }}"
    );
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    let child = Child::start(program, &[Path::new("-e"), Path::new("stderr"), Path::new("-c"), &path], &[])?;
    let nginx = Nginx { child, address, _folder: folder };
    let listens = until("nginx listens", async || Connection::open(address).await.map(|_| true)).await;
    listens.map_err(|error| format!("{error}\n{}", nginx.child.text()))?;
    Ok(nginx)
}

/// nginx takes no port 0, so one that is free now is written into its configuration. Somebody may take it meanwhile;
/// nginx then says so and the scenario is not measured.
fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port on loopback: {error}"))
}
