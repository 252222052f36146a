//! WebSocket handshakes: over HTTP/1.1 (RFC 6455) and over HTTP/2 (RFC 8441) from clients, over HTTP/1.1 to services.
//!
//! Nothing else is upgraded: every other `Upgrade` is taken out of the request, which is then an ordinary one. A handshake that
//! is none by RFC 6455 4.2.1 is refused here: services that take it all the same are how tunnels are smuggled.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::error::GatewayError;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// The only version there is; drafts had others.
pub(super) const VERSION: HeaderValue = HeaderValue::from_static("13");
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("upgrade");

/// What a client wants to turn its connection, or its stream, into.
#[derive(Debug)]
pub struct Handshake {
    /// The client's side, once it was answered.
    pub client: OnUpgrade,
    /// The stream is one of HTTP/2.
    over_http2: bool,
}

/// The handshake that `parts` begin, if they do. Over HTTP/2 the request becomes the GET that it stands for.
pub fn take(parts: &mut Parts, random: &mut fastrand::Rng) -> Result<Option<Handshake>, GatewayError> {
    let over_http2 = match parts.version {
        Version::HTTP_11 => {
            let wanted = parts.method == Method::GET
                && has_token(&parts.headers, &CONNECTION, b"upgrade")
                && has_token(&parts.headers, &UPGRADE, b"websocket");
            if !wanted {
                return Ok(None);
            }
            check_version(&parts.headers)?;
            check_key(&parts.headers)?;
            false
        }
        Version::HTTP_2 => {
            let Some(protocol) = parts.extensions.remove::<Protocol>() else { return Ok(None) };
            if parts.method != Method::CONNECT || !protocol.as_str().eq_ignore_ascii_case("websocket") {
                return Ok(None);
            }
            check_version(&parts.headers)?;
            parts.method = Method::GET;
            parts.headers.insert(SEC_WEBSOCKET_KEY, key(random));
            true
        }
        _ => return Ok(None),
    };
    Ok(parts.extensions.remove::<OnUpgrade>().map(|client| Handshake { client, over_http2 }))
}

/// RFC 6455 4.2.1 and 4.4, also over HTTP/2 (RFC 8441 5).
fn check_version(headers: &HeaderMap) -> Result<(), GatewayError> {
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    match (versions.next(), versions.next()) {
        (None, _) => Err(GatewayError::WebsocketHandshake("it has no Sec-WebSocket-Version")),
        (Some(version), None) if version == VERSION => Ok(()),
        (Some(_), _) => Err(GatewayError::WebsocketVersion),
    }
}

/// One key, of 16 bytes in base64.
fn check_key(headers: &HeaderMap) -> Result<(), GatewayError> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let is_key = |key: &HeaderValue| {
        let digits = key.as_bytes().strip_suffix(b"==").unwrap_or_default();
        digits.len() == 22 && digits.iter().all(|digit| DIGITS.contains(digit))
    };
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(()),
        _ => Err(GatewayError::WebsocketHandshake("its Sec-WebSocket-Key is not one of 16 bytes in base64")),
    }
}

/// Asks the service for the upgrade; what was said of it to us was taken out before.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, UPGRADE_TOKEN);
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Whether a service switched to what it was asked for.
pub fn is_agreed<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && has_token(response.headers(), &UPGRADE, b"websocket")
}

impl Handshake {
    /// Whether a stream of HTTP/2 is to become the WebSocket.
    pub fn over_http2(&self) -> bool {
        self.over_http2
    }

    /// What the client is told when the service agreed; hop-by-hop fields were taken out before.
    pub fn agree<B>(&self, response: &mut Response<B>) {
        if self.over_http2 {
            // RFC 8441 5: 2xx, and nothing that HTTP/1.1 needed to be sure of its peer.
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            ask(response.headers_mut());
        }
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    let mut tokens = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// 16 random bytes in base64 (RFC 6455 4.1): proves to the client's side of the handshake, which is us, that the service
/// speaks WebSocket.
fn key(random: &mut fastrand::Rng) -> HeaderValue {
    let mut text = [b'='; 24];
    for byte in text.iter_mut().take(21) {
        *byte = DIGITS.get(random.usize(..64)).copied().unwrap_or(b'A');
    }
    // The last digit before the padding has two bits of the 128.
    if let Some(last) = text.get_mut(21) {
        *last = DIGITS.get(16 * random.usize(..4)).copied().unwrap_or(b'A');
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lists_in_any_case_and_nowhere_else() {
        for (value, found) in
            [("websocket", true), ("h2c, WebSocket", true), ("websocket2", false), ("", false)]
        {
            let headers = HeaderMap::from_iter([(UPGRADE, value.parse().unwrap())]);
            assert_eq!(has_token(&headers, &UPGRADE, b"websocket"), found, "{value}");
        }
    }

    #[test]
    fn a_handshake_has_one_key_and_version_13() {
        let of = |name: HeaderName, values: &[&'static str]| -> HeaderMap {
            values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        for (values, right) in [
            (&["dGhlIHNhbXBsZSBub25jZQ=="][..], true),
            (&[], false),
            (&["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="], false),
            (&["dGhlIHNhbXBsZSBub25jZQ"], false),
            (&["dGhlIHNhbXBsZQ=="], false),
            (&["dGhlIHNhbXBsZSBub25j!Q=="], false),
        ] {
            assert_eq!(check_key(&of(SEC_WEBSOCKET_KEY, values)).is_ok(), right, "{values:?}");
        }
        for (values, refused) in [
            (&["13"][..], None),
            (&[], Some(400)),
            (&["8"], Some(426)),
            (&["13", "8"], Some(426)),
            (&["13, 8"], Some(426)),
        ] {
            let told = check_version(&of(SEC_WEBSOCKET_VERSION, values)).err().map(GatewayError::answer);
            assert_eq!(told.map(|told| told.status.as_u16()), refused, "{values:?}");
        }
    }

    #[test]
    fn a_key_is_16_bytes_in_base64() {
        let key = key(&mut fastrand::Rng::with_seed(1));
        let text = key.to_str().unwrap();
        assert!(text.len() == 24 && text.ends_with("==") && "AQgw".contains(&text[21..22]), "{text}");
        assert!(check_key(&HeaderMap::from_iter([(SEC_WEBSOCKET_KEY, key)])).is_ok());
    }
}
