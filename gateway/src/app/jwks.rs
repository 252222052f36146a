//! Reading the keys that issuers of tokens publish: at the start, every so often, and when a token names an unknown one.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use tokio::net::TcpStream;
use vertice_config::gateway::GatewayConfig;
use vertice_config::gateway::policy::JwtKeys;
use vertice_process::tasks;
use vertice_registry_api::url::Scheme;
use vertice_registry_api::{Host, ServiceUrl};

use crate::policy::Policies;
use crate::policy::jwt::jwks::{BYTES, Jwks};
use crate::table::Protocol;
use crate::upstream::UpstreamTls;
use crate::upstream::io::UpstreamStream;

/// For one reading, from the look-up of the name to the last byte.
const LIMIT: Duration = Duration::from_secs(10);

/// The policies of `config`, with the key sets that it names in files. What `before` has under the same rules is kept.
pub fn load(config: &GatewayConfig, before: Option<&Policies>) -> Result<Policies, Vec<String>> {
    let policies = Policies::of(&config.policies, before);
    read_files(&policies, before)?;
    Ok(policies)
}

/// What is wrong with key sets in files is wrong with the configuration.
fn read_files(policies: &Policies, before: Option<&Policies>) -> Result<(), Vec<String>> {
    let errors: Vec<String> = new_ones(policies, before)
        .filter_map(|jwks| match &jwks.source {
            JwtKeys::File(path) => {
                let read = std::fs::read(&path.value).map_err(|error| format!("cannot be read: {error}"));
                let wrong = read.and_then(|text| jwks.take(&text)).err()?;
                Some(format!(
                    "{}: `jwt.{}.jwks_file` names {}, which {wrong}; give a JWK set with the issuer's public keys",
                    path.at,
                    jwks.name,
                    path.value.display()
                ))
            }
            JwtKeys::Url(_) | JwtKeys::Secret(_) => None,
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Reads those that `before` did not have, for as long as they are used.
pub(super) fn keep_reading(policies: &Policies, before: Option<&Policies>, tls: &UpstreamTls) {
    for jwks in new_ones(policies, before) {
        tasks::spawn("jwks", run(Arc::downgrade(jwks), tls.clone()));
    }
}

fn new_ones<'a>(policies: &'a Policies, before: Option<&'a Policies>) -> impl Iterator<Item = &'a Arc<Jwks>> {
    let known = move |jwks: &Arc<Jwks>| {
        before.is_some_and(|before| before.published().iter().any(|known| Arc::ptr_eq(known, jwks)))
    };
    policies.published().iter().filter(move |jwks| !known(jwks))
}

async fn run(jwks: Weak<Jwks>, tls: UpstreamTls) {
    let mut failed = 0;
    let mut count = 0;
    loop {
        let Some(jwks) = jwks.upgrade() else { return };
        match read(&jwks.source, &tls).await.and_then(|text| jwks.take(&text)) {
            Ok(keys) => {
                if failed > 0 || keys != count {
                    tracing::info!(issuer = jwks.name, keys, "the key set of an issuer was read");
                }
                (failed, count) = (0, keys);
            }
            Err(wrong) => {
                failed += 1;
                if failed == 1 {
                    tracing::error!(
                        issuer = jwks.name,
                        "the key set of an issuer {wrong}; what was read before counts until `max_stale`"
                    );
                }
            }
        }
        jwks.due(failed).await;
    }
}

/// The text of a key set; an error completes "the key set ...".
async fn read(source: &JwtKeys, tls: &UpstreamTls) -> Result<Vec<u8>, String> {
    match source {
        JwtKeys::Secret(_) => Ok(Vec::new()),
        JwtKeys::File(path) => {
            let path = path.value.clone();
            // A disk that hangs must not stop the control side, which has one thread.
            let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
            read.map_err(|error| format!("cannot be read: {error}"))?
        }
        JwtKeys::Url(url) => tokio::time::timeout(LIMIT, get(url, tls))
            .await
            .unwrap_or_else(|_| Err(format!("was not there within {LIMIT:?}")))
            .map(|text| text.to_vec()),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))
}

/// One GET, no redirects: keys come from where the operator said, and from nowhere else.
async fn get(url: &ServiceUrl, tls: &UpstreamTls) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot be read: {error}");
    let stream = match url.host() {
        Host::Ip(ip) => TcpStream::connect((*ip, url.port())).await,
        Host::Name(name) => TcpStream::connect((&**name, url.port())).await,
    };
    let stream = stream.map_err(|error| failed(&error))?;
    let stream = match url.scheme() {
        Scheme::Http => UpstreamStream::tcp(stream),
        Scheme::Https => {
            let tls = tls.general(url)?;
            let stream = tls.connect(stream, Protocol::Http1).await;
            UpstreamStream::tls(
                stream.map_err(|_| "cannot be read: no TLS connection came about".to_owned())?,
            )
        }
    };
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| failed(&error))?;
    let target = if url.base().is_empty() { "/" } else { url.base() };
    let request = Request::get(target)
        .header(HOST, url.authority())
        .header(USER_AGENT, "vertice-gateway")
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("is answered with {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), BYTES).collect().await.map_err(|error| failed(&error))?;
        Ok(body.to_bytes())
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection is over; what it brought is with the exchange.
        _ = connection => exchange.await,
    }
}
