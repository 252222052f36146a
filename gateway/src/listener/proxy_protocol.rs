//! The PROXY protocol, versions 1 and 2: a load balancer in front says who the client is before the client's first byte.
//!
//! Source: "The PROXY protocol, versions 1 & 2" (HAProxy). Whom it is believed from is the listener's `proxy_protocol`; who is
//! believed must send it (section 2: a receiver must not guess).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What both versions have at least, and version 2 needs to be told from version 1.
const SHORTEST: usize = 12;

/// Section 2.1.
const LONGEST_V1: usize = 107;

/// Version 2 without its addresses.
const FIXED_V2: usize = 16;

/// Addresses and all that comes with them (TLS details, ids); more is no header but a flood.
const LONGEST_V2: usize = 4096;

const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why a connection from a believed peer was closed.
#[derive(Debug)]
pub enum ProxyProtocolError {
    /// It broke off.
    Read(io::Error),
    /// What came is no header. The peer's.
    Malformed,
}

impl fmt::Display for ProxyProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the connection broke off in its PROXY header: {error}"),
            Self::Malformed => f.write_str(
                "a peer that this listener believes (`proxy_protocol`) did not begin with a PROXY header: configure the \
                 load balancer to send it, or take the peer out of the list",
            ),
        }
    }
}

impl From<io::Error> for ProxyProtocolError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Reads the header and not a byte more. Who the client is; `None` where the peer speaks for itself (health checks of the load
/// balancer) or does not know.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE_V2 {
        read_v2(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() >= LONGEST_V1 {
                return Err(ProxyProtocolError::Malformed);
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(ProxyProtocolError::Malformed);
    }
    client(&header)
}

async fn read_v2(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> Result<(), ProxyProtocolError> {
    header.resize(FIXED_V2, 0);
    stream.read_exact(header.get_mut(SHORTEST..).unwrap_or_default()).await?;
    let length = match header.get(FIXED_V2 - 2..) {
        Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(ProxyProtocolError::Malformed),
    };
    if length > LONGEST_V2 {
        return Err(ProxyProtocolError::Malformed);
    }
    header.resize(FIXED_V2 + length, 0);
    stream.read_exact(header.get_mut(FIXED_V2..).unwrap_or_default()).await?;
    Ok(())
}

/// What a whole header says.
fn client(header: &[u8]) -> Result<Option<SocketAddr>, ProxyProtocolError> {
    let parsed = HeaderResult::parse(header);
    if !parsed.is_complete() {
        return Err(ProxyProtocolError::Malformed);
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(ip) => Some((IpAddr::V4(ip.source_address), ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((IpAddr::V6(ip.source_address), ip.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Local, _)
            | (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
            (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
                Some((IpAddr::V4(ip.source_address), ip.source_port).into())
            }
            (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
                Some((IpAddr::V6(ip.source_address), ip.source_port).into())
            }
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(ProxyProtocolError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and what of `bytes` is left for HTTP; `None`: malformed or broken off.
    async fn said(bytes: &[u8]) -> Option<(Option<String>, usize)> {
        let mut left = bytes;
        let client = read(&mut left).await.ok()?;
        Some((client.map(|client| client.to_string()), left.len()))
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE_V2, &[0x20 | command, family], &length, addresses, b"GET /"].concat()
    }

    #[tokio::test]
    async fn version_1_names_the_client_and_takes_no_byte_of_the_request() {
        for (header, client) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", Some("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", Some("[2001:db8::1]:56324")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ff::1 ff::2 1 2\r\n", None),
        ] {
            let bytes = format!("{header}GET /");
            assert_eq!(said(bytes.as_bytes()).await, Some((client.map(str::to_owned), 5)), "{header}");
        }
    }

    #[tokio::test]
    async fn version_2_names_the_client_and_takes_no_byte_of_the_request() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
        assert_eq!(said(&v2(1, 0x11, &v4)).await, Some((Some("192.0.2.1:56324".into()), 5)));
        let with_tlv = [&v4[..], &[0x04, 0, 1, 7]].concat();
        assert_eq!(said(&v2(1, 0x11, &with_tlv)).await, Some((Some("192.0.2.1:56324".into()), 5)));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 1, 80);
        assert_eq!(said(&v2(1, 0x21, &v6)).await, Some((Some("[2001::1]:80".into()), 5)));
        assert_eq!(said(&v2(0, 0, &[])).await, Some((None, 5)), "LOCAL");
        assert_eq!(said(&v2(1, 0, &[])).await, Some((None, 5)), "unspecified");
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
        let flood = [SIGNATURE_V2, &[0x21, 0x11, 0xff, 0xff], &vec![0; 70_000]].concat();
        let short = [SIGNATURE_V2, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        let version_3 = [SIGNATURE_V2, &[0x31, 0x11, 0, 12], &v4[..]].concat();
        let endless = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY TCP4 300.2.3.4 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2",
            b"PROXY",
            endless.as_bytes(),
            &flood,
            &short,
            &version_3,
            &SIGNATURE_V2[..8],
        ] {
            assert_eq!(said(bytes).await, None, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
