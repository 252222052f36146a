//! A request's head as HTTP/2 wants it, and back: what HTTP/1.1 says in Host is a part of the target (RFC 9113 8.3.1), and
//! nothing speaks of framing (8.2.2).

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Request, Uri, Version};

use super::request_body::RequestBody;

/// Makes it a request of HTTP/2 to an endpoint with `scheme`.
pub fn to_http2(request: &mut Request<RequestBody>, scheme: Scheme) {
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(TRANSFER_ENCODING);
    let host = request.headers_mut().remove(HOST);
    // It was checked to be a host before, or is a service's name.
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = authority else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Makes it a request of HTTP/1.1 again: it was not sent, and another endpoint may speak that.
pub fn to_http1(request: &mut Request<RequestBody>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    let host = parts.authority.take().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    if !request.body().is_empty() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_becomes_authority_and_back() {
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = "/a%2Fb?x=1".parse().unwrap();
        request.headers_mut().insert(HOST, "h:81".parse().unwrap());
        request.headers_mut().insert(TRANSFER_ENCODING, "chunked".parse().unwrap());
        to_http2(&mut request, Scheme::HTTP);
        assert_eq!(request.uri().to_string(), "http://h:81/a%2Fb?x=1");
        assert!(request.headers().is_empty(), "{:?}", request.headers());
        to_http1(&mut request);
        assert_eq!(request.uri().to_string(), "/a%2Fb?x=1");
        assert_eq!(request.headers()[HOST], "h:81");
        assert!(!request.headers().contains_key(TRANSFER_ENCODING), "there is no body");
    }
}
