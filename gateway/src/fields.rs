//! Names of header fields that are not the peer's to set, for heads and for trailers.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use http_body::Frame;

/// Whether a field of this name is one that the gateway sets or replaces, in any spelling.
pub fn is_ours(name: &str) -> bool {
    let is = |wanted| is_spelling(name, wanted);
    begins(name, "x-forwarded-")
        || is("forwarded")
        || is("x-real-ip")
        || is("x-request-id")
        || is_identity(name)
}

/// Whether a field of this name says who the client proved to be by its certificate (RFC 9440, and our own), in any
/// spelling.
pub fn is_identity(name: &str) -> bool {
    begins(name, "x-client-cert-")
        || is_spelling(name, "client-cert")
        || is_spelling(name, "client-cert-chain")
}

fn is_spelling(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && begins(name, wanted)
}

fn begins(name: &str, wanted: &str) -> bool {
    name.len() >= wanted.len()
        && name.bytes().zip(wanted.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

/// Whether a field means something to one connection only, or to the next server before the body (RFC 9110 7.6.1, 10.1.1).
pub fn is_for_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "proxy-authorization"
            | "http2-settings"
    )
}

/// Fields that only the gateway may set, by an operator's choice.
#[derive(Debug, Default)]
pub struct OwnFields {
    /// With dashes where there could be underscores.
    names: Vec<String>,
}

impl OwnFields {
    /// Of these names.
    pub fn of<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Self {
        let mut names: Vec<String> = names.map(|name| plain(name.as_str())).collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Takes them out of what a client sent, in every spelling.
    pub fn strip(&self, fields: &mut HeaderMap) {
        if self.names.is_empty() {
            return;
        }
        let bad: Vec<HeaderName> =
            fields.keys().filter(|name| self.names.contains(&plain(name.as_str()))).cloned().collect();
        for name in bad {
            fields.remove(name);
        }
    }
}

/// As services read it: many take an underscore for a dash.
fn plain(name: &str) -> String {
    name.replace('_', "-")
}

/// Takes out of trailers what would be believed in a head but nobody checks behind a body (RFC 9110 6.5.1): framing,
/// routing, credentials, and everything of ours.
pub fn strip_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    let framing = |name: &str| {
        matches!(
            name,
            "content-length" | "host" | "content-type" | "content-encoding" | "content-range" | "trailer"
        )
    };
    let credentials = |name: &str| matches!(name, "authorization" | "cookie" | "set-cookie" | "x-api-key");
    match frame.into_trailers() {
        Err(data) => data,
        Ok(mut trailers) => {
            let bad: Vec<_> = trailers
                .keys()
                .filter(|name| {
                    let name = name.as_str();
                    is_ours(name) || is_for_one_hop(name) || framing(name) || credentials(name)
                })
                .cloned()
                .collect();
            for name in bad {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_policies_set_is_taken_from_clients_in_every_spelling() {
        let own = [HeaderName::from_static("x-user-id"), HeaderName::from_static("x_tenant")];
        let own = OwnFields::of(own.iter());
        let mut headers = HeaderMap::new();
        for name in ["x-user-id", "x_user_id", "x-user_id", "x-tenant", "x_tenant", "x-users-id"] {
            headers.append(HeaderName::from_static(name), "1".parse().unwrap());
            headers.append(HeaderName::from_static(name), "2".parse().unwrap());
        }
        own.strip(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-users-id"]);
        assert!(OwnFields::of(std::iter::empty()).is_empty());
    }

    #[test]
    fn trailers_carry_data_and_nothing_that_rules() {
        let mut trailers = http::HeaderMap::new();
        for name in [
            "x-checksum",
            "grpc-status",
            "x-forwarded-for",
            "x_real_ip",
            "client-cert",
            "x_client_cert_subject",
            "content-length",
            "host",
            "te",
            "cookie",
        ] {
            trailers.insert(http::HeaderName::from_static(name), "1".parse().unwrap());
        }
        let left = strip_trailers(Frame::trailers(trailers)).into_trailers().unwrap();
        let mut names: Vec<_> = left.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-status", "x-checksum"]);
    }
}
