//! What a certificate says: names, dates, whose it is.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Host names in lower case; `*.example.com` stands for one label more.
    pub names: Vec<String>,
    /// Subject, as RFC 4514 writes it.
    pub subject: String,
    /// Subject alternative names, each with its kind: `DNS:a.example`, `URI:spiffe://...`, `IP:10.0.0.1`, `email:...`.
    pub alternatives: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before_s: u64,
    /// Valid to.
    pub not_after_s: u64,
    /// Who issued it, encoded.
    pub issuer: Vec<u8>,
    /// Whose it is, encoded.
    pub subject_der: Vec<u8>,
}

impl Facts {
    /// Reads `der`; why not, if it cannot be read.
    pub fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let body = certificate.tbs_certificate();
        let alternatives = body.get_extension::<SubjectAltName>().map_err(|error| error.to_string())?;
        let alternatives = alternatives.map_or_else(Vec::new, |(_, names)| names.0);
        let encoded = |name: &x509_cert::name::Name| name.to_der().map_err(|error| error.to_string());
        Ok(Self {
            names: alternatives.iter().filter_map(dns_name).collect(),
            subject: body.subject().to_string(),
            alternatives: alternatives.iter().filter_map(shown).collect(),
            not_before_s: body.validity().not_before.to_unix_duration().as_secs(),
            not_after_s: body.validity().not_after.to_unix_duration().as_secs(),
            issuer: encoded(body.issuer())?,
            subject_der: encoded(body.subject())?,
        })
    }

    /// Whether the certificate is for `host` (lower case, no trailing dot), by RFC 9525: `*` is one whole label.
    pub fn covers(&self, host: &str) -> bool {
        let behind_first = host.split_once('.').map(|(_, rest)| rest);
        let by_name = self.names.iter().any(|name| {
            name == host || name.strip_prefix("*.").is_some_and(|rest| behind_first == Some(rest))
        });
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        by_name
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| self.alternatives.iter().any(|name| *name == format!("IP:{ip}")))
    }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().trim_end_matches('.').to_ascii_lowercase()),
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

fn shown(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(format!("DNS:{}", name.as_str())),
        GeneralName::Rfc822Name(name) => Some(format!("email:{}", name.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => Some(format!("URI:{}", uri.as_str())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
            let ip = v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())?;
            Some(format!("IP:{ip}"))
        }
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_one_label() {
        let facts = Facts {
            names: vec!["*.example.com".into(), "b.org".into()],
            subject: String::new(),
            alternatives: vec!["IP:10.0.0.1".into(), "IP:::1".into()],
            not_before_s: 0,
            not_after_s: 0,
            issuer: Vec::new(),
            subject_der: Vec::new(),
        };
        for host in ["a.example.com", "b.org", "10.0.0.1", "[::1]"] {
            assert!(facts.covers(host), "{host}");
        }
        for host in ["example.com", "x.a.example.com", "a.b.org", "10.0.0.2", "", "*"] {
            assert!(!facts.covers(host), "{host}");
        }
    }
}
