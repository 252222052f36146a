//! Who a client proved to be, as the header fields that its requests get. `fields` takes them from everybody else.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use crate::credentials::Facts;

/// RFC 9440.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
const ALTERNATIVES: HeaderName = HeaderName::from_static("x-client-cert-san");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// A client whose certificate was verified.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl ClientIdentity {
    /// Of the certificate that the handshake verified; `None` if it cannot be read after all.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let facts = Facts::of(certificate).ok()?;
        let digest = Sha256::digest(certificate.as_ref());
        let fingerprint = digest.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        let names: Vec<String> = facts.alternatives.iter().map(|name| element(name)).collect();
        let mut fields = Vec::new();
        let mut add = |name, text: String| {
            if !text.is_empty()
                && let Ok(value) = HeaderValue::try_from(text)
            {
                fields.push((name, value));
            }
        };
        add(CLIENT_CERT, format!(":{}:", base64(certificate)));
        add(SUBJECT, printable(&facts.subject));
        add(ALTERNATIVES, names.join(", "));
        add(FINGERPRINT, fingerprint);
        Some(Self { fields })
    }

    /// Says it in `headers`, from which the client's own claims were taken.
    pub fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.fields {
            headers.insert(name, value.clone());
        }
    }
}

/// Printable ASCII; what is not is written as RFC 4514 2.4 does: `\` and two hexadecimal digits for each byte.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b' ' || byte.is_ascii_graphic() {
            shown.push(char::from(byte));
        } else {
            let _ = write!(shown, "\\{byte:02X}");
        }
    }
    shown
}

/// An element of the list: a comma or a space in a name must not look like the border to the next one.
fn element(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b',' | b'%') {
            shown.push(char::from(byte));
        } else {
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

/// RFC 4648 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| group.get(index).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            let digit = DIGITS.get(digit).copied().filter(|_| place <= group.len());
            text.push(digit.map_or('=', char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_name_cannot_look_like_two_and_a_subject_cannot_end_the_field() {
        assert_eq!(element("URI:spiffe://a,DNS:admin x"), "URI:spiffe://a%2CDNS:admin%20x");
        assert_eq!(printable("CN=a\r\nx: é"), "CN=a\\0D\\0Ax: \\C3\\A9");
    }

    #[test]
    fn a_certificate_becomes_four_fields() {
        let made =
            rcgen::generate_simple_self_signed(vec!["client.example".into(), "10.0.0.1".into()]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(SUBJECT, HeaderValue::from_static("CN=spoofed"));
        ClientIdentity::of(made.cert.der()).unwrap().tell(&mut headers);
        assert_eq!(headers[ALTERNATIVES], "DNS:client.example, IP:10.0.0.1");
        assert_eq!(headers[SUBJECT], "CN=rcgen self signed cert");
        assert_eq!(headers[FINGERPRINT].len(), 64);
        assert!(headers[CLIENT_CERT].to_str().unwrap().starts_with(":MII"));
    }
}
