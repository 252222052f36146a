//! What a request asks for: host and path, checked and in the one form that everything after uses.

use http::header::HOST;
use http::{HeaderMap, Method, Uri, Version};

use super::error::GatewayError;
use crate::route::{host, path};

/// The host of a request in normal form, empty for an HTTP/1.0 request without one.
///
/// RFC 9112 3.2: exactly one Host in HTTP/1.1; and where the target names a host too, they must not differ, so that
/// nobody can be told one thing and another one done.
pub fn host<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    version: Version,
) -> Result<std::borrow::Cow<'a, str>, GatewayError> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(GatewayError::Host("there are two Host headers")),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| GatewayError::Host("the Host header is not ASCII"))?;
            Some(host::normal(text).ok_or(GatewayError::Host("the Host header is not a host"))?)
        }
        (None, _) if version == Version::HTTP_10 => None,
        // RFC 9113 8.3.1: `:authority` stands for Host.
        (None, _) if version == Version::HTTP_2 && uri.authority().is_some() => None,
        (None, _) => return Err(GatewayError::Host("the Host header is missing")),
    };
    let Some(authority) = uri.authority() else { return Ok(host.unwrap_or_default()) };
    // What is meant for another protocol is not answered as if it were for this one (RFC 9110 7.4).
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(GatewayError::Host("the target's scheme is neither http nor https"));
    }
    if authority.as_str().contains('@') {
        return Err(GatewayError::Host("the target has userinfo"));
    }
    let named =
        host::normal(authority.as_str()).ok_or(GatewayError::Host("the target's host is not a host"))?;
    if host.as_ref().is_some_and(|host| *host != named) {
        return Err(GatewayError::Host("the target and the Host header name different hosts"));
    }
    Ok(named)
}

/// Checks the target's length and its path.
pub fn check(uri: &Uri, method: &Method, limit_bytes: usize) -> Result<(), GatewayError> {
    if *method == Method::CONNECT {
        return Err(GatewayError::Connect);
    }
    let bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if bytes > limit_bytes {
        return Err(GatewayError::TargetTooLong { limit_bytes });
    }
    path::check(uri.path()).map_err(GatewayError::Path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(target: &str, hosts: &[&str], version: Version) -> Option<String> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let uri: Uri = target.parse().unwrap();
        host(&uri, &headers, version).ok().map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn one_host_and_no_contradiction() {
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(judge("/", &["A.b:80"], v11).as_deref(), Some("a.b"));
        assert_eq!(judge("http://a.b/x", &["a.b"], v11).as_deref(), Some("a.b"));
        assert_eq!(judge("http://a.b:80/x", &["a.b"], v11).as_deref(), Some("a.b"));
        assert_eq!(judge("/", &[], v10).as_deref(), Some(""));
        assert_eq!(judge("/", &[], v11), None);
        assert_eq!(judge("/", &["a", "a"], v11), None);
        assert_eq!(judge("/", &[""], v11), None);
        assert_eq!(judge("/", &["a b"], v11), None);
        assert_eq!(judge("http://a.b/x", &["c.d"], v11), None);
        assert_eq!(judge("http://u@a.b/x", &["a.b"], v11), None);
        let h2 = Version::HTTP_2;
        assert_eq!(judge("https://A.b:443/x", &[], h2).as_deref(), Some("a.b"));
        assert_eq!(judge("https://a.b/x", &["a.b"], h2).as_deref(), Some("a.b"));
        assert_eq!(judge("https://a.b/x", &["c.d"], h2), None);
        assert_eq!(judge("/x", &[], h2), None);
        assert_eq!(judge("/x", &["a.b"], h2).as_deref(), Some("a.b"));
        assert_eq!(judge("ftp://a.b/x", &["a.b"], v11), None);
        assert_eq!(judge("HTTPS://a.b/x", &["a.b"], v11).as_deref(), Some("a.b"));
    }
}
