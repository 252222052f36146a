//! One call to a registry, with a deadline, and its failure in words.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use vertice_config::Secret;

use crate::auth::TOKEN_HEADER;

/// For connecting and answering.
const TIME: Duration = Duration::from_secs(10);
/// Ten thousand leases with full labels.
const ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// A registry to talk to.
#[derive(Debug)]
pub(super) struct Registry {
    /// As it was given, for messages.
    url: String,
    authority: String,
    token: Option<Secret>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    method: &'static str,
    path: String,
    body: Option<Value>,
    time: Duration,
}

impl Call {
    pub(super) fn new(method: &'static str, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, time: TIME }
    }

    pub(super) fn get(path: String) -> Self {
        Self::new("GET", path, None)
    }

    /// One that the registry may answer only after so long.
    pub(super) fn lasting(self, seconds: u32) -> Self {
        Self { time: TIME + Duration::from_secs(seconds.into()), ..self }
    }
}

impl Registry {
    pub(super) fn at(url: &str, token: Option<Secret>) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("--registry {url}: {why}; wanted is http://HOST:PORT"));
        let Ok(uri) = url.parse::<Uri>() else { return wrong("this is not a URL") };
        if uri.scheme_str() != Some("http") {
            return wrong("only http is spoken here");
        }
        let Some(authority) = uri.authority() else { return wrong("it names no host") };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
            return wrong("a path, a query or a user cannot be in it");
        }
        let port = authority.port_u16().unwrap_or(80);
        let authority = format!("{}:{port}", authority.host());
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority, token })
    }

    /// The body of the answer if it was done; else what to print.
    pub(super) async fn call(&self, call: Call) -> Result<Value, String> {
        let seconds = call.time.as_secs();
        let late = || format!("the registry at {} did not answer within {seconds} s", self.url);
        let (status, body) =
            tokio::time::timeout(call.time, self.exchange(call)).await.map_err(|_| late())??;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|_| format!("{} answered {status} with no JSON: is it a registry?", self.url))?;
        if status.is_success() {
            return Ok(body);
        }
        let detail = match body.get("detail") {
            Some(Value::String(detail)) => detail.clone(),
            Some(other) => other.to_string(),
            None => body.to_string(),
        };
        Err(match status {
            StatusCode::UNAUTHORIZED => {
                format!(
                    "the registry wants a token: give --token-file FILE or set REGISTRY_AUTH_TOKEN ({detail})"
                )
            }
            StatusCode::NOT_FOUND if detail == "Not Found" => {
                format!("{} does not know this call: is it an older registry?", self.url)
            }
            _ => format!("the registry refused ({}): {detail}", status.as_u16()),
        })
    }

    async fn exchange(&self, call: Call) -> Result<(StatusCode, Bytes), String> {
        let url = &self.url;
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| {
            format!("cannot reach the registry at {url}: {error}; does it run? --registry names another one")
        })?;
        let broken =
            |error: hyper::Error| format!("the exchange with the registry at {url} broke off: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = call.method.parse().unwrap_or_default();
        *request.uri_mut() = call.path.parse().map_err(|error| format!("{}: {error}", call.path))?;
        let headers = request.headers_mut();
        if let Ok(host) = HeaderValue::try_from(&self.authority) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(token.expose())
                .map_err(|_| "the token has characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            headers.insert(TOKEN_HEADER, value);
        }
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| format!("the answer of the registry at {url} broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_by_rule() {
        for (url, authority) in [
            ("http://127.0.0.1:8888", "127.0.0.1:8888"),
            ("http://[::1]:8888/", "[::1]:8888"),
            ("http://registry", "registry:80"),
        ] {
            assert_eq!(Registry::at(url, None).unwrap().authority, authority);
        }
        for url in
            ["", "registry:8888", "https://r:1", "http://r:1/x", "http://r:1?x", "http://u@r:1", "http://"]
        {
            let error = Registry::at(url, None).unwrap_err();
            assert!(error.contains("http://HOST:PORT"), "{url}: {error}");
        }
    }
}
