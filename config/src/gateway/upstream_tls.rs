//! `[upstream_tls]` and `tls` of a service: how services with an `https` URL are connected to.

use super::UpstreamTlsConfig;
use super::tls::{host_name, placed_path};
use crate::keys::{Key, names};
use crate::reader::{Reading, Section};
use crate::values;

const CA: Key = Key {
    name: "ca",
    kind: "path",
    default: None,
    absent: "the authorities that the system trusts",
    example: "\"/etc/vertice/services-ca.pem\"",
    what: "PEM file of the authorities that sign the certificates of services; the system's are not asked then.",
    why: "Inside services have certificates of an authority of their own.",
};

const CLIENT_CERT: Key = Key {
    name: "client_cert",
    kind: "path",
    default: None,
    absent: "none is shown",
    example: "\"/etc/vertice/gateway.pem\"",
    what: "PEM file with the certificate chain that the gateway shows when a service asks for one. With `client_key`.",
    why: "",
};

const CLIENT_KEY: Key = Key {
    name: "client_key",
    kind: "path",
    default: None,
    absent: "none is shown",
    example: "\"/etc/vertice/gateway.key\"",
    what: "PEM file with the key of `client_cert`.",
    why: "",
};

const VERIFY: Key = Key {
    name: "verify",
    kind: "true or false",
    default: Some("true"),
    absent: "",
    example: "false",
    what: "Whether a service must prove that it is who its URL names.",
    why: "Without it anybody on the way can read and answer; `false` is a warning at every start.",
};

/// Keys of `[upstream_tls]`.
pub(super) const GENERAL_KEYS: &[Key] = &[CA, CLIENT_CERT, CLIENT_KEY, VERIFY];

/// Keys of `tls` of a service.
pub(super) const SERVICE_KEYS: &[Key] = &[
    CA,
    Key {
        name: "server_name",
        kind: "host",
        default: None,
        absent: "the host of the URL",
        example: "\"core.internal\"",
        what: "The name that the service's certificate must have, and that it is asked for.",
        why: "Instances are often registered by address, and certificates have names.",
    },
    CLIENT_CERT,
    CLIENT_KEY,
    VERIFY,
];

/// What a service's `tls` says over `base`.
pub(super) fn read_service(
    reading: &mut Reading<'_>,
    service: &Section<'_, '_>,
    base: &UpstreamTlsConfig,
) -> Option<UpstreamTlsConfig> {
    let section = service.section(reading, "tls", &names(SERVICE_KEYS))?;
    Some(read(reading, &section, base))
}

/// What `[upstream_tls]` says.
pub(super) fn read_general(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> UpstreamTlsConfig {
    let base = UpstreamTlsConfig::default();
    match root.section(reading, "upstream_tls", &names(GENERAL_KEYS)) {
        Some(section) => read(reading, &section, &base),
        None => base,
    }
}

fn read(reading: &mut Reading<'_>, section: &Section<'_, '_>, base: &UpstreamTlsConfig) -> UpstreamTlsConfig {
    let ca = placed_path(reading, section, "ca");
    let cert = placed_path(reading, section, "client_cert");
    let key = placed_path(reading, section, "client_key");
    let server_name = section.value(reading, "server_name", host_name);
    let verify = section.value(reading, "verify", values::boolean);
    if let (Some(_), Some(said)) = (&ca, verify.as_ref().filter(|said| !said.value)) {
        reading.mistake(
            &said.at,
            format!("`{}` is false, and `ca` says whom to believe", section.path_of("verify")),
            "keep one of the two",
        );
    }
    for (have, lacks, missing) in
        [("client_cert", "client_key", key.is_none()), ("client_key", "client_cert", cert.is_none())]
    {
        if let Some(at) = section.place_of(have).filter(|_| missing && section.place_of(lacks).is_none()) {
            reading.missing(
                &at,
                format!("`{}` is given without `{lacks}`", section.path_of(have)),
                "a certificate is shown with its key: give both",
            );
        }
    }
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some(super::CertificateConfig { cert, key }),
        _ => base.client.clone(),
    };
    UpstreamTlsConfig {
        // Who names an authority wants it asked, whatever the general word is.
        verify: verify.map_or(base.verify || ca.is_some(), |said| said.value),
        ca: ca.or_else(|| base.ca.clone()),
        server_name: server_name.map(|said| said.value),
        client,
    }
}

/// What is odd enough for a warning at every start.
pub(super) fn warnings(general: &UpstreamTlsConfig, services: &[super::ServiceConfig]) -> Vec<String> {
    let warn = |what: &str| {
        format!("{what}: verify = false: whoever answers at an https URL is believed; give a `ca` instead")
    };
    let general = (!general.verify).then(|| warn("[upstream_tls]"));
    let of_services = services
        .iter()
        .filter(|service| service.tls.as_ref().is_some_and(|tls| !tls.verify))
        .map(|service| warn(service.name.as_str()));
    general.into_iter().chain(of_services).collect()
}
