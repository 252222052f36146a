//! API keys: in `X-API-Key`, or in the query where a route says so. Known by their hashes, and never passed on.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use percent_encoding::percent_decode_str;
use vertice_config::gateway::policy::{ApiKeyConfig, KeyHash};

use super::identity::Identity;
use super::refusal::Refusal;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Services that take an underscore for a dash would read it as the same.
const ALIAS: HeaderName = HeaderName::from_static("x_api_key");
const IN_QUERY: &[u8] = b"api_key";

/// Bytes of a key that are hashed; nobody makes longer ones.
const KEY_BYTES: usize = 1024;

/// Before its end a key is warned of.
const WARNED_AHEAD_S: u64 = 14 * DAY_S;
const DAY_S: u64 = 24 * 60 * 60;

/// All keys. Looked up by hash: nothing of a key is compared, so no time tells anything of one.
#[derive(Debug, Default)]
pub struct ApiKeys {
    by_hash: HashMap<KeyHash, ApiKey, RandomState>,
}

#[derive(Debug)]
struct ApiKey {
    identity: Arc<Identity>,
    expires_s: Option<u64>,
}

impl ApiKeys {
    /// As the configuration has them.
    pub fn of(config: &[ApiKeyConfig]) -> Self {
        let one = |key: &ApiKeyConfig| {
            let identity = Identity::of_key(&key.name, &key.scopes, key.tenant.as_deref());
            (key.hash, ApiKey { identity: Arc::new(identity), expires_s: key.expires_s })
        };
        Self { by_hash: config.iter().map(one).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Takes the key out of a request's head, and finds whose it is; `None`: there is no key in it. What stays of the query
    /// stays byte for byte.
    pub fn take(
        &self,
        parts: &mut Parts,
        in_query: bool,
        now_s: u64,
    ) -> Option<Result<Arc<Identity>, Refusal>> {
        let mut shown: Vec<Vec<u8>> = parts.headers.get_all(X_API_KEY).iter().map(bytes).collect();
        hide(&mut parts.headers);
        if in_query {
            shown.extend(cut_from_query(&mut parts.uri));
        }
        let key = shown.pop()?;
        // Two keys: which of them counts is for nobody to guess.
        Some(if shown.is_empty() { self.judge(&key, now_s) } else { Err(Refusal::KeyWrong) })
    }

    fn judge(&self, key: &[u8], now_s: u64) -> Result<Arc<Identity>, Refusal> {
        let known = self.find(key).ok_or(Refusal::KeyWrong)?;
        if known.expires_s.is_some_and(|expires| now_s >= expires) {
            return Err(Refusal::KeyExpired);
        }
        Ok(known.identity.clone())
    }

    fn find(&self, key: &[u8]) -> Option<&ApiKey> {
        if key.len() > KEY_BYTES { None } else { self.by_hash.get(&KeyHash::of(key)) }
    }

    /// Takes keys of ours out of a request that needs none: its service may have keys of its own, and none of its business
    /// are ours.
    pub fn hide_ours(&self, headers: &mut HeaderMap) {
        let is_ours = |value: &HeaderValue| self.find(value.as_bytes()).is_some();
        if headers.get_all(X_API_KEY).iter().chain(headers.get_all(ALIAS)).any(is_ours) {
            hide(headers);
        }
    }

    /// Names and ends of those that have one.
    pub fn expiries(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_hash.values().filter_map(|key| Some((&*key.identity.name, key.expires_s?)))
    }

    /// What is to be said of keys that are over or soon will be.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.expiries().filter_map(|(name, expires_s)| warning(name, expires_s, now_s)).collect();
        warnings.sort();
        warnings
    }
}

fn warning(name: &str, expires_s: u64, now_s: u64) -> Option<String> {
    let left_s = expires_s.saturating_sub(now_s);
    if left_s == 0 {
        return Some(format!("API key '{name}' has expired: who uses it is refused"));
    }
    let days = left_s.div_ceil(DAY_S);
    (left_s <= WARNED_AHEAD_S)
        .then(|| format!("API key '{name}' expires in {days} day(s): give its user another one"))
}

fn bytes(value: &HeaderValue) -> Vec<u8> {
    value.as_bytes().to_vec()
}

fn hide(headers: &mut HeaderMap) {
    headers.remove(X_API_KEY);
    headers.remove(ALIAS);
}

/// Takes every `api_key=` out of the query, however its name is written, and returns the values.
fn cut_from_query(uri: &mut Uri) -> Vec<Vec<u8>> {
    let Some(query) = uri.query() else { return Vec::new() };
    let (mut keys, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if percent_decode_str(name).eq(IN_QUERY.iter().copied()) {
            keys.push(percent_decode_str(value).collect());
        } else {
            rest.push(pair);
        }
    }
    if keys.is_empty() {
        return keys;
    }
    let path = uri.path();
    let target = if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) };
    let mut parts = std::mem::take(uri).into_parts();
    // A part of what was a target is one.
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    keys
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const DAY: u64 = DAY_S;

    fn keys() -> ApiKeys {
        let key = |name: &str, expires_s| ApiKeyConfig {
            name: name.into(),
            hash: KeyHash::of(format!("key-{name}").as_bytes()),
            scopes: Vec::new(),
            tenant: None,
            expires_s,
        };
        ApiKeys::of(&[key("a", None), key("b", Some(100))])
    }

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn one_key_is_known_and_two_are_none() {
        for (shown, name) in [
            (&["key-a"][..], Ok("a")),
            (&["key-b"], Ok("b")),
            (&["key-c"], Err(Refusal::KeyWrong)),
            (&["key-a", "key-a"], Err(Refusal::KeyWrong)),
            (&[""], Err(Refusal::KeyWrong)),
        ] {
            let shown: Vec<_> = shown.iter().map(|key| ("x-api-key", *key)).collect();
            let mut parts = parts("/", &shown);
            let found = keys().take(&mut parts, false, 99).unwrap();
            assert_eq!(found.map(|identity| identity.name.to_string()), name.map(str::to_owned));
            assert!(parts.headers.is_empty(), "it is never passed on");
        }
        assert!(keys().take(&mut parts("/", &[]), true, 0).is_none());
        let expired = keys().take(&mut parts("/", &[("x-api-key", "key-b")]), false, 100);
        assert_eq!(expired.unwrap(), Err(Refusal::KeyExpired));
        let long = "x".repeat(KEY_BYTES + 1);
        assert_eq!(
            keys().take(&mut parts("/", &[("x-api-key", &long)]), false, 0).unwrap(),
            Err(Refusal::KeyWrong)
        );
    }

    #[test]
    fn the_rest_of_the_query_stays_byte_for_byte() {
        for (uri, left, found) in [
            ("/s?api_key=key-a", "/s", true),
            ("/s?api_key=key-a&", "/s?", true),
            ("/s?x=%2F&api_key=key%2Da&&y=+&x", "/s?x=%2F&&y=+&x", true),
            ("/s?api%5Fkey=key-a&b", "/s?b", true),
            ("http://h/s?a&api_key=key-a", "http://h/s?a", true),
            ("/s?Api_Key=key-a&api_keys=1", "/s?Api_Key=key-a&api_keys=1", false),
            ("/s?", "/s?", false),
            ("/s", "/s", false),
        ] {
            let mut parts = parts(uri, &[]);
            let taken = keys().take(&mut parts, true, 0);
            assert_eq!((parts.uri.to_string().as_str(), taken.is_some()), (left, found), "{uri}");
            assert!(taken.is_none_or(|taken| taken.is_ok()), "{uri}");
        }
        let mut untouched = parts("/s?api_key=key-a", &[]);
        assert!(keys().take(&mut untouched, false, 0).is_none());
        assert_eq!(untouched.uri, "/s?api_key=key-a");
        let mut both = parts("/s?api_key=key-a", &[("x-api-key", "key-a")]);
        assert_eq!(keys().take(&mut both, true, 0).unwrap(), Err(Refusal::KeyWrong));
        assert_eq!(both.uri, "/s");
    }

    #[test]
    fn where_no_key_is_asked_for_ours_go_and_those_of_services_stay() {
        for (name, value, stays) in
            [("x-api-key", "key-a", false), ("x_api_key", "key-a", false), ("x-api-key", "theirs", true)]
        {
            let mut parts = parts("/", &[(name, value)]);
            keys().hide_ours(&mut parts.headers);
            assert_eq!(parts.headers.contains_key(name), stays, "{name} {value}");
        }
    }

    #[test]
    fn an_end_is_told_ahead() {
        for (expires_s, said) in [
            (100 * DAY, None),
            (15 * DAY, None),
            (14 * DAY, Some("expires in 14 day(s)")),
            (1, Some("expires in 1 day(s)")),
            (0, Some("has expired")),
        ] {
            let found = warning("ci", 7 + expires_s, 7);
            assert_eq!(found.is_some(), said.is_some(), "{expires_s}");
            assert!(said.is_none_or(|said| found.unwrap().contains(said)), "{expires_s}");
        }
    }
}
