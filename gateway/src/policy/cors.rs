//! What pages of other origins may do (Fetch standard, 3.2): judged by what browsers send, told in what they read. Pure.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method};
use vertice_config::gateway::HostPattern;
use vertice_config::gateway::policy::{CorsConfig, OriginPattern};

/// All that a service may have said about this; the gateway speaks for it.
const SPOKEN_FOR: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];
const STAR: HeaderValue = HeaderValue::from_static("*");
/// What an answer to a preflight depends on; caches on the way must not mix them up.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const ORIGIN_VARY: HeaderValue = HeaderValue::from_static("Origin");

/// What pages of other origins may do, ready to be told.
#[derive(Clone, Debug)]
pub struct Cors {
    name: String,
    /// `None`: everybody's.
    origins: Option<Vec<OriginPattern>>,
    methods: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// Whose page asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody's: no browser, or the page's own origin.
    None,
    /// One that may; as it is told.
    Allowed(HeaderValue),
    /// One that may not.
    Refused,
}

/// Whether this is the question whether another request may be sent, and with which method that would be.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    /// As it is configured.
    pub fn new(config: &CorsConfig) -> Self {
        let methods = config.methods.as_ref().map(|list| list.iter().map(Method::as_str).collect::<Vec<_>>());
        let names = |list: &Option<Vec<HeaderName>>| match list {
            None => Some(STAR),
            Some(list) => value(&list.iter().map(HeaderName::as_str).collect::<Vec<_>>()),
        };
        Self {
            name: config.name.clone(),
            origins: config.origins.clone(),
            methods: methods.map_or(STAR, |list| value(&list).unwrap_or(HeaderValue::from_static(""))),
            headers: names(&config.headers),
            expose: names(&config.expose),
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        }
    }

    /// Under which name it is configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose page sent `headers`.
    pub fn judge(&self, headers: &HeaderMap) -> Origin {
        // Told to everybody: a cache may answer a page with what it got for somebody who sent no origin.
        let Some(allowed) = &self.origins else { return Origin::Allowed(STAR) };
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Origin::None };
        // A browser sends one.
        if origins.next().is_some() {
            return Origin::Refused;
        }
        let text = origin.to_str().unwrap_or_default();
        if allowed.iter().any(|pattern| matches(pattern, text)) {
            Origin::Allowed(origin.clone())
        } else {
            Origin::Refused
        }
    }

    /// What a preflight of `origin` is answered.
    pub fn answer(&self, origin: &Origin) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(VARY, PREFLIGHT_VARY);
        let Origin::Allowed(told) = origin else { return headers };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, told.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(allowed) = &self.headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers
    }

    /// Puts into an answer what a page of `origin` may do with it, in the place of what a service said about that.
    pub fn finish(&self, origin: &Origin, headers: &mut HeaderMap) {
        for name in SPOKEN_FOR {
            headers.remove(name);
        }
        if self.origins.is_some() {
            vary(headers);
        }
        let Origin::Allowed(told) = origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, told.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if let Some(expose) = &self.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// Another origin is answered otherwise, also where this request had none.
fn vary(headers: &mut HeaderMap) {
    let says = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    };
    if !headers.get_all(VARY).iter().any(says) {
        headers.append(VARY, ORIGIN_VARY);
    }
}

fn matches(pattern: &OriginPattern, origin: &str) -> bool {
    let rest = origin.strip_prefix(pattern.scheme.as_str()).and_then(|rest| rest.strip_prefix("://"));
    let Some(rest) = rest else { return false };
    let host = match pattern.port {
        None => Some(rest),
        Some(port) => rest.rsplit_once(':').filter(|(_, said)| is_port(said, port)).map(|(host, _)| host),
    };
    let Some(host) = host else { return false };
    match &pattern.host {
        HostPattern::Exact(exact) => host == exact,
        HostPattern::Wildcard(suffix) => {
            let label =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
            let below = host.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.'));
            below.is_some_and(|below| !below.is_empty() && below.bytes().all(label))
        }
    }
}

fn is_port(text: &str, port: u16) -> bool {
    text.parse() == Ok(port) && !text.starts_with(['+', '0'])
}

/// `None`: there is nothing to say.
fn value(list: &[&str]) -> Option<HeaderValue> {
    if list.is_empty() { None } else { HeaderValue::from_str(&list.join(", ")).ok() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn origin(scheme: &str, host: HostPattern, port: Option<u16>) -> OriginPattern {
        OriginPattern { scheme: scheme.into(), host, port }
    }

    fn cors(origins: Option<Vec<OriginPattern>>, credentials: bool) -> Cors {
        Cors::new(&CorsConfig {
            name: "web".into(),
            origins,
            methods: Some(vec![Method::GET, Method::PUT]),
            headers: Some(vec![HeaderName::from_static("x-api-key")]),
            expose: Some(vec![HeaderName::from_static("x-request-id")]),
            credentials,
            max_age: Duration::from_mins(10),
        })
    }

    fn some() -> Cors {
        let exact = |name: &str| HostPattern::Exact(name.into());
        cors(
            Some(vec![
                origin("https", exact("app.example.com"), None),
                origin("http", exact("localhost"), Some(5173)),
                origin("http", exact("[::1]"), Some(3000)),
                origin("https", HostPattern::Wildcard("example.org".into()), None),
                origin("https", HostPattern::Wildcard("example.net".into()), Some(8443)),
            ]),
            true,
        )
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn rows(headers: &HeaderMap) -> Vec<String> {
        let mut rows: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        rows.sort();
        rows
    }

    #[test]
    fn origins_are_compared_whole() {
        for (text, allowed) in [
            ("https://app.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com:444", false),
            ("https://app.example.com.evil.org", false),
            ("https://evil-app.example.com", false),
            ("https://app.example.com/", false),
            ("http://localhost:5173", true),
            ("http://localhost:05173", false),
            ("http://localhost:+5173", false),
            ("http://localhost", false),
            ("http://localhost:51730", false),
            ("http://[::1]:3000", true),
            ("https://a.example.org", true),
            ("https://a.b.example.org", true),
            ("https://example.org", false),
            ("https://.example.org", false),
            ("https://evilexample.org", false),
            ("https://evil.com/.example.org", false),
            ("https://evil.com:1.example.org", false),
            ("https://user@evil.example.org", false),
            ("https://a.example.org:8443", false),
            ("https://a.example.net:8443", true),
            ("https://a.example.net", false),
            ("null", false),
            ("", false),
        ] {
            let judged = some().judge(&headers(&[(ORIGIN, text)]));
            let expected = if allowed { Origin::Allowed(text.parse().unwrap()) } else { Origin::Refused };
            assert_eq!(judged, expected, "{text}");
        }
        assert_eq!(some().judge(&HeaderMap::new()), Origin::None);
        let two = headers(&[(ORIGIN, "https://app.example.com"), (ORIGIN, "https://app.example.com")]);
        assert_eq!(some().judge(&two), Origin::Refused);
    }

    #[test]
    fn a_preflight_is_an_options_with_origin_and_a_method() {
        let asked = headers(&[(ORIGIN, "https://a"), (ACCESS_CONTROL_REQUEST_METHOD, "PUT")]);
        assert_eq!(preflight(&Method::OPTIONS, &asked), Some(Method::PUT));
        assert_eq!(preflight(&Method::GET, &asked), None);
        assert_eq!(preflight(&Method::OPTIONS, &headers(&[(ORIGIN, "https://a")])), None);
        let no_origin = headers(&[(ACCESS_CONTROL_REQUEST_METHOD, "PUT")]);
        assert_eq!(preflight(&Method::OPTIONS, &no_origin), None);
        let no_method = headers(&[(ORIGIN, "https://a"), (ACCESS_CONTROL_REQUEST_METHOD, "P T")]);
        assert_eq!(preflight(&Method::OPTIONS, &no_method), None);
    }

    #[test]
    fn a_preflight_is_told_everything_or_nothing() {
        let vary = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        let told = some().answer(&Origin::Allowed("https://app.example.com".parse().unwrap()));
        assert_eq!(
            rows(&told),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-api-key",
                "access-control-allow-methods: GET, PUT",
                "access-control-allow-origin: https://app.example.com",
                "access-control-max-age: 600",
                vary,
            ]
        );
        assert_eq!(rows(&some().answer(&Origin::Refused)), [vary]);
    }

    #[test]
    fn the_gateway_speaks_for_the_service() {
        let said = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_ORIGIN, "https://evil.com"),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "x-secret"),
            (VARY, "Accept-Encoding"),
        ];
        let mut answer = headers(&said);
        some().finish(&Origin::Refused, &mut answer);
        assert_eq!(rows(&answer), ["vary: Accept-Encoding", "vary: Origin"]);
        let mut answer = headers(&[(VARY, "accept, oRigin")]);
        some().finish(&Origin::Allowed("https://app.example.com".parse().unwrap()), &mut answer);
        assert_eq!(
            rows(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://app.example.com",
                "access-control-expose-headers: x-request-id",
                "vary: accept, oRigin",
            ]
        );
        let mut answer = HeaderMap::new();
        some().finish(&Origin::None, &mut answer);
        assert_eq!(rows(&answer), ["vary: Origin"], "a cache may answer a page with it");
        let mut answer = HeaderMap::new();
        let all = cors(None, false);
        all.finish(&all.judge(&HeaderMap::new()), &mut answer);
        assert_eq!(
            rows(&answer),
            ["access-control-allow-origin: *", "access-control-expose-headers: x-request-id"]
        );
    }
}
