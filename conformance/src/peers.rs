//! The gateways that the suite can start by itself: ours, nginx and HAProxy, each forwarding everything to the suite's
//! service, with limits that are alike.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::case::{Level, Outcome, Verdict};
use crate::cli::Protocol;
use crate::upstream::Upstream;
use crate::wire::Target;
use crate::{h1, h2, tls};

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(20);

/// What can be started.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Gateway(PathBuf),
    Nginx,
    Haproxy,
}

/// A started program. It is killed when this is dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    /// HTTP/1.1 in plain text.
    h1: SocketAddr,
    /// HTTP/2 in plain text with prior knowledge, where it is spoken.
    h2c: Option<SocketAddr>,
    /// HTTP/2 over TLS, where it is spoken.
    h2: Option<SocketAddr>,
    // After the child: it is gone when its folder goes.
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `peer` and runs the suite against each of its listeners.
pub(crate) fn judge(
    peer: &Peer,
    patience: Duration,
    protocol: Protocol,
    only: &str,
) -> Result<Vec<Outcome>, String> {
    let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let running = start(peer, upstream.address)?;
    let mut outcomes = Vec::new();
    if protocol != Protocol::H2 {
        let target = Target { address: running.h1, tls: false, patience };
        outcomes.extend(h1::suite(&target, &upstream, only));
    }
    if protocol != Protocol::H1 {
        for (address, tls) in [(running.h2c, false), (running.h2, true)] {
            match address {
                Some(address) => {
                    outcomes.extend(h2::suite(&Target { address, tls, patience }, &upstream, only));
                    outcomes.extend(h2spec(address, tls));
                }
                None => outcomes.extend(h2::skipped(tls, only, "this gateway has no listener for it")),
            }
        }
    }
    Ok(outcomes)
}

/// Runs the tool h2spec itself, where `H2SPEC` names it.
fn h2spec(address: SocketAddr, tls: bool) -> Option<Outcome> {
    let program = std::env::var_os("H2SPEC")?;
    let mut command = Command::new(&program);
    // -S: the cases that it calls strict, too.
    command.args(["-S", "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    if tls {
        command.args(["-t", "-k"]);
    }
    let verdict = match command.output() {
        Ok(output) if output.status.success() => Verdict::Passed,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            eprintln!("{text}");
            let came = text.lines().rfind(|line| line.contains(" tests, ")).unwrap_or("no sum").to_owned();
            Verdict::Failed { expected: "0 failed".into(), came }
        }
        Err(error) => Verdict::Failed { expected: "h2spec to run".into(), came: error.to_string() },
    };
    Some(Outcome {
        suite: if tls { "h2" } else { "h2c" },
        id: "h2spec".into(),
        section: "h2spec",
        level: Level::Must,
        what: "the tool itself",
        verdict,
    })
}

fn start(peer: &Peer, service: SocketAddr) -> Result<Running, String> {
    let folder = TempDir::new().map_err(|error| format!("no temporary folder: {error}"))?;
    match peer {
        Peer::Gateway(program) => gateway(program, service, folder),
        Peer::Nginx => nginx(service, folder),
        Peer::Haproxy => haproxy(service, folder),
    }
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> Result<[SocketAddr; N], String> {
    let mut held = Vec::new();
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))?;
        *port = listener.local_addr().map_err(|error| error.to_string())?;
        held.push(listener);
    }
    Ok(ports)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn listening(address: SocketAddr, child: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the program ended instead of listening: {status}"));
        }
        if Instant::now() > deadline {
            return Err(format!("nothing listens at {address} after {START:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn gateway(program: &Path, service: SocketAddr, folder: TempDir) -> Result<Running, String> {
    let file = folder.path().join("gateway.toml");
    let [h1, h2] = free_ports()?;
    let (chain, key) = certificate(&folder)?;
    let text = format!(
        "workers = 2\n\n[[listener]]\naddress = \"{h1}\"\n\n[[listener]]\naddress = \"{h2}\"\n[listener.tls]\n\
         certificates = [{{ cert = \"{chain}\", key = \"{key}\" }}]\n\n[registry]\nembedded = \"127.0.0.1:0\"\n\n\
         [health]\nactive = false\neject_after_connect_failures = 0\neject_after_errors = 0\n\n\
         [limits]\nhead_timeout = \"1s\"\n\n[timeouts]\nidle = \"1500ms\"\n\n\
         [[service]]\nname = \"conformance\"\nfallback = [\"http://{service}\"]\n\n\
         [[route]]\nname = \"all\"\nprefix = \"/\"\nservice = \"conformance\"\n",
        chain = chain.display(),
        key = key.display()
    );
    write(&file, &text)?;
    let mut child = Command::new(program)
        .arg("run")
        .arg("--config")
        .arg(&file)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
    keep_errors(&mut child);
    listening(h1, &mut child)?;
    ready(h1)?;
    Ok(Running { child, h1, h2c: Some(h1), h2: Some(h2), _folder: folder })
}

/// Waits until requests reach the service: a gateway listens before it knows where the service is.
fn ready(address: SocketAddr) -> Result<(), String> {
    let deadline = Instant::now() + START;
    loop {
        let target = Target { address, tls: false, patience: Duration::from_secs(2) };
        match h1::plain_status(&target) {
            Some(200) => return Ok(()),
            last if Instant::now() > deadline => {
                return Err(format!("the gateway does not get ready: {last:?}"));
            }
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Passes what the program complains about on, and keeps its pipe from filling up.
fn keep_errors(child: &mut Child) {
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("panicked") || line.contains("ERROR") {
                    eprintln!("the target: {line}");
                }
            }
        });
    }
}

fn find(name: &str) -> Result<PathBuf, String> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not installed (apt-get install {name})"))
}

fn certificate(folder: &TempDir) -> Result<(PathBuf, PathBuf), String> {
    let (certificate, key) = tls::certificate()?;
    let (chain, secret) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    write(&chain, &certificate)?;
    write(&secret, &key)?;
    // HAProxy wants both in one file.
    write(&folder.path().join("both.pem"), &format!("{certificate}{key}"))?;
    Ok((chain, secret))
}

fn nginx(service: SocketAddr, folder: TempDir) -> Result<Running, String> {
    let [h1, h2c, h2] = free_ports()?;
    let (chain, key) = certificate(&folder)?;
    let (place, chain, key) = (folder.path().display(), chain.display(), key.display());
    let mut text = format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr error;\n\
         events {{ worker_connections 2000; }}\nhttp {{ access_log off;\n"
    );
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "{name}_temp_path {place}/{name};");
    }
    let _ = write!(
        text,
        "upstream service {{ server {service} max_fails=0; keepalive 32; }}\n\
         map $http_upgrade $upgrade {{ ~*^websocket$ websocket; default \"\"; }}\n\
         map $upgrade $connection_option {{ websocket upgrade; default \"\"; }}\n\
         client_max_body_size 8m; client_header_timeout 1s; client_body_timeout 1500ms; send_timeout 1500ms;\n\
         proxy_next_upstream off; merge_slashes off;\n\
         server {{ listen {h1}; listen {h2c} http2; listen {h2} ssl http2;\n\
         ssl_certificate {chain}; ssl_certificate_key {key};\n\
         location / {{ proxy_pass http://service; proxy_http_version 1.1;\n\
         proxy_set_header Upgrade $upgrade; proxy_set_header Connection $connection_option;\n\
         proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; }} }} }}\n"
    );
    let file = folder.path().join("nginx.conf");
    write(&file, &text)?;
    let mut child = Command::new(find("nginx")?)
        .arg("-p")
        .arg(folder.path())
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nginx cannot be started: {error}"))?;
    listening(h2, &mut child)?;
    Ok(Running { child, h1, h2c: Some(h2c), h2: Some(h2), _folder: folder })
}

fn haproxy(service: SocketAddr, folder: TempDir) -> Result<Running, String> {
    let [h1, h2c, h2] = free_ports()?;
    certificate(&folder)?;
    let both = folder.path().join("both.pem");
    let text = format!(
        "global\n  nbthread 2\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 1500ms\n  timeout server 5s\n  timeout http-request 1s\n\
         frontend plain\n  bind {h1}\n  default_backend service\n\
         frontend prior\n  bind {h2c} proto h2\n  default_backend service\n\
         frontend secure\n  bind {h2} ssl crt {both} alpn h2,http/1.1\n  default_backend service\n\
         backend service\n  http-reuse safe\n  option forwardfor\n  retries 0\n\
         \x20 http-request set-header X-Forwarded-Proto http\n  http-request set-header X-Forwarded-Host %[req.hdr(host)]\n\
         \x20 server one {service}\n",
        both = both.display()
    );
    let file = folder.path().join("haproxy.cfg");
    write(&file, &text)?;
    let mut child = Command::new(find("haproxy")?)
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("HAProxy cannot be started: {error}"))?;
    listening(h2, &mut child)?;
    Ok(Running { child, h1, h2c: Some(h2c), h2: Some(h2), _folder: folder })
}
