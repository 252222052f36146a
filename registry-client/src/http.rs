//! The only place that talks HTTP to a registry: every request with a deadline, every body with a limit.

use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::tls::Version;
use vertice_registry_api::{Scheme, ServiceUrl};

use crate::error::SourceError;
use crate::token::Token;

/// The original's header of the token; ours reads it too.
const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-registry-token");
/// An answer about one thing. The largest honest one is an instance's record of a few KiB.
pub(crate) const SMALL_BODY_BYTES: u64 = 1024 * 1024;
/// What a log line shows of an answer: room for the list of a 422.
const WORDS_CHARS: usize = 500;
/// An idle connection closes before a usual server (60 s or more) closes it under a request.
const IDLE: Duration = Duration::from_secs(50);

/// A client of one registry.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    token: Token,
    http: reqwest::Client,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Vec<u8>,
}

impl Client {
    /// Builds a client that takes no proxy from the environment and follows no redirect: a registry does neither, and
    /// the token must not follow one.
    pub(crate) fn new(url: &ServiceUrl, token: &Token) -> Result<Self, SourceError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("vertice/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .http1_only();
        let builder = match url.scheme() {
            // No roots: the system's store costs megabytes, and plain HTTP never looks at it.
            Scheme::Http => builder.tls_certs_only([]),
            Scheme::Https => builder.tls_version_min(Version::TLS_1_2).https_only(true),
        };
        let http = builder.build().map_err(|error| SourceError::Client(chain(&error)))?;
        Ok(Self { base: url.to_string(), token: token.clone(), http })
    }

    /// Sends a request and reads the whole answer within `deadline`, at most `limit` bytes of it.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        deadline: Duration,
        limit: u64,
    ) -> Result<Answer, SourceError> {
        within(deadline, async {
            let mut response = self.open(method, path, body, deadline).await?;
            let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e, deadline))? {
                if len(body.len() + chunk.len()) > limit {
                    return Err(SourceError::TooLarge(limit));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status, headers, body })
        })
        .await
    }

    /// A small GET.
    pub(crate) async fn get(&self, path: &str, deadline: Duration) -> Result<Answer, SourceError> {
        self.ask(Method::GET, path, None, deadline, SMALL_BODY_BYTES).await
    }

    /// Sends a request and returns with the head of the answer; the body is read by the caller.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        deadline: Duration,
    ) -> Result<reqwest::Response, SourceError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = self.token.header()? {
            request = request.header(TOKEN_HEADER, token);
        }
        if let Some(body) = body {
            request = request.header(http::header::CONTENT_TYPE, "application/json").body(body);
        }
        within(deadline, async { request.send().await.map_err(|e| unreached(&e, deadline)) }).await
    }
}

impl Answer {
    /// The error for an answer that is not what the contract says.
    pub(crate) fn not_ours(&self, reason: impl Into<String>) -> SourceError {
        SourceError::NotOurs { content_type: content_type(&self.headers), reason: reason.into() }
    }

    /// The server's own words for a log line: its `detail` if it gave one, else the start of the body.
    pub(crate) fn words(&self) -> String {
        let detail = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let detail = detail.as_ref().and_then(|value| value.get("detail"));
        let text = match detail {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => {
                String::from_utf8_lossy(self.body.get(..WORDS_CHARS * 4).unwrap_or(&self.body)).into_owned()
            }
        };
        text.chars().take(WORDS_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

/// What an answer says that it is.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    match headers.get(http::header::CONTENT_TYPE).map(HeaderValue::to_str) {
        Some(Ok(text)) => text.chars().take(60).collect(),
        Some(Err(_)) => "an unreadable content type".into(),
        None => "no content type".into(),
    }
}

/// Runs `work` with a deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(SourceError::Timeout(deadline)))
}

/// A request that brought no head of an answer.
fn unreached(error: &reqwest::Error, deadline: Duration) -> SourceError {
    if error.is_timeout() { SourceError::Timeout(deadline) } else { SourceError::Connect(chain(error)) }
}

/// A body that broke off.
pub(crate) fn broken(error: &reqwest::Error, deadline: Duration) -> SourceError {
    if error.is_timeout() { SourceError::Timeout(deadline) } else { SourceError::Truncated(chain(error)) }
}

/// The last cause: what the library says above it only repeats the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

pub(crate) fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
