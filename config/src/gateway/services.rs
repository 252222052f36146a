//! `[[service]]`: what the operator knows about a service beside the registry.

use std::collections::BTreeMap;

use super::{ServiceConfig, UpstreamTlsConfig, upstream_tls};
use crate::keys::{Key, names};
use crate::reader::{Reading, Section};
use crate::values;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: "service name",
        default: None,
        absent: "a mistake: it must be given",
        example: "\"maximus_core_service\"",
        what: "Which service; once per name.",
        why: "",
    },
    Key {
        name: "fallback",
        kind: "list of URLs",
        default: None,
        absent: "what the environment says",
        example: "[\"http://maximus-core:8100\"]",
        what: "Used while the registry knows no instance of the service. `\"unix:/run/app.sock\"` is a Unix socket. An empty list switches off a fall-back from the environment.",
        why: "What is written here is exempt from the endpoint policy: an operator wrote it.",
    },
    Key {
        name: "tls",
        kind: "section `[service.tls]`",
        default: None,
        absent: "as `[upstream_tls]` says",
        example: "{ ca = \"/etc/vertice/core-ca.pem\" }",
        what: "How instances of this service with an `https` URL are connected to.",
        why: "",
    },
];

/// The services of the file, in its order.
pub(super) fn read(
    reading: &mut Reading<'_>,
    root: &Section<'_, '_>,
    general: &UpstreamTlsConfig,
) -> Vec<ServiceConfig> {
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut services = Vec::new();
    for section in root.sections(reading, "service", &names(KEYS)) {
        let name = section.wanted(reading, "name", "\"maximus_core_service\"", values::service_name);
        let tls = upstream_tls::read_service(reading, &section, general);
        if section.place_of("fallback").is_none() && section.place_of("tls").is_none() {
            reading.missing(
                &section.at,
                "`service` says nothing beside its name",
                "write fallback = [\"http://host:port\"], or leave the service out: the registry knows it",
            );
        }
        let fallback =
            section.list(reading, "fallback", "[\"http://maximus-core:8100\"]", values::fallback_url);
        let Some(name) = name else { continue };
        let line = reading.line(&name.at);
        if let Some(earlier) = lines.insert(name.value.to_string(), line) {
            reading.mistake(
                &name.at,
                format!("`service.name` '{}' is in line {earlier} already", name.value),
                "write one [[service]] per name and list all its URLs there",
            );
        }
        let fallback = fallback.map(|said| said.value.into_iter().map(|u| u.value).collect());
        services.push(ServiceConfig { name: name.value, fallback, tls });
    }
    services
}
