//! `{NAME}_URL`, `{NAME}_SERVICE_URL`, `{NAME}_ENDPOINT`: where a service is while no registry knows it.
//!
//! The original gateway looks these up per request, so a variable can stand for two names: `OSINT_SERVICE_URL` is
//! what it reads for `osint_service` (as `{OSINT_SERVICE}_URL`) and for `osint` (as `{OSINT}_SERVICE_URL`).

use std::collections::BTreeMap;

use vertice_registry_api::{ServiceName, ServiceUrl};

use crate::env::Env;
use crate::values;

/// The endings in the order in which they win for one name.
const SUFFIXES: [&str; 3] = ["_URL", "_SERVICE_URL", "_ENDPOINT"];

/// Variables that have the ending but are no service of ours. Whatever is taken as a fall-back can be reached by every
/// client as `/v2/{name}/`, so what is not meant for clients must not become one.
const NOT_SERVICES: &[&str] = &[
    // The registry: a client that reached it through us would register services with our place in the network.
    "VERTICE_REGISTRY_URL",
    "VERTICE_REGISTER_URL",
    "REGISTRY_URL",
    "REGISTER_URL",
    "SERVICE_REGISTRY_URL",
    // Stores: where one speaks HTTP, it trusts whoever reaches it.
    "DATABASE_URL",
    "REDIS_URL",
    // Where clouds hand out credentials to whoever asks.
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
];

/// Families of such variables.
const NOT_SERVICE_PREFIXES: &[&str] = &[
    // Clouds: metadata and credential services, storage with the machine's rights.
    "AWS_",
    "AZURE_",
    "GOOGLE_CLOUD_",
    "ECS_",
    // Telemetry collectors.
    "OTEL_",
    // Build systems and package indexes, often with credentials in the URL.
    "CI_",
    "GITHUB_",
    "GITLAB_",
    "PIP_",
    "UV_",
    "NPM_",
    "CARGO_",
];

/// Endings of such variables: a web hook's path is its password.
const NOT_SERVICE_SUFFIXES: &[&str] = &["_WEBHOOK_URL", "_PROXY_URL"];

/// The fall-backs of the environment, and a warning for each variable that looks like one and cannot be used.
pub(super) fn read(env: &Env) -> (BTreeMap<ServiceName, ServiceUrl>, Vec<String>) {
    let mut found: BTreeMap<ServiceName, (usize, ServiceUrl)> = BTreeMap::new();
    let mut warnings = Vec::new();
    for (variable, text) in env.iter() {
        let names = names_of(variable);
        if names.is_empty() {
            continue;
        }
        let Ok(url) = values::parse_url(text.trim()) else {
            // The value stays unsaid: connection strings carry passwords.
            let services: Vec<String> = names.iter().map(|(_, name)| format!("'{name}'")).collect();
            warnings.push(format!(
                "environment variable {variable} is not used as a fall-back of {}: its value is not \
                 http(s)://host[:port][/path]",
                services.join(" and ")
            ));
            continue;
        };
        for (rank, name) in names {
            let better = found.get(&name).is_none_or(|(taken, _)| rank < *taken);
            if better {
                found.insert(name, (rank, url.clone()));
            }
        }
    }
    (found.into_iter().map(|(name, (_, url))| (name, url)).collect(), warnings)
}

/// What [`names_of`] leaves out, for the reference page.
pub(super) fn never_taken() -> impl Iterator<Item = String> {
    let exact = NOT_SERVICES.iter().map(ToString::to_string);
    let prefixes = NOT_SERVICE_PREFIXES.iter().map(|prefix| format!("{prefix}*"));
    let suffixes = NOT_SERVICE_SUFFIXES.iter().map(|suffix| format!("*{suffix}"));
    exact.chain(prefixes).chain(suffixes)
}

/// The services that `variable` can stand for, each with the rank of the ending that makes it so.
fn names_of(variable: &str) -> Vec<(usize, ServiceName)> {
    // The original asks for upper-case names only.
    let excluded = variable.bytes().any(|b| b.is_ascii_lowercase())
        || NOT_SERVICES.contains(&variable)
        || NOT_SERVICE_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        || NOT_SERVICE_SUFFIXES.iter().any(|suffix| variable.ends_with(suffix));
    if excluded {
        return Vec::new();
    }
    SUFFIXES
        .iter()
        .enumerate()
        .filter_map(|(rank, suffix)| {
            let name = variable.strip_suffix(suffix)?.to_ascii_lowercase();
            Some((rank, ServiceName::parse(&name).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(env: &Env) -> Vec<(String, String)> {
        read(env).0.into_iter().map(|(name, url)| (name.to_string(), url.to_string())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn one_variable_can_stand_for_two_services() {
        assert_eq!(
            found(&Env::from([("OSINT_SERVICE_URL", "http://osint:8036")])),
            pairs(&[("osint", "http://osint:8036"), ("osint_service", "http://osint:8036")])
        );
        assert_eq!(
            found(&Env::from([("MABA_ENDPOINT", "http://maba:1")])),
            pairs(&[("maba", "http://maba:1")])
        );
    }

    #[test]
    fn url_wins_over_service_url_over_endpoint() {
        let url = ("AB_URL", "http://url:1");
        let service_url = ("AB_SERVICE_URL", "http://service-url:1");
        let endpoint = ("AB_ENDPOINT", "http://endpoint:1");
        let of_ab = |env: Env| found(&env).into_iter().find(|(name, _)| name == "ab").map(|(_, url)| url);
        assert_eq!(of_ab(Env::from([url, service_url, endpoint])).as_deref(), Some(url.1));
        assert_eq!(of_ab(Env::from([service_url, endpoint])).as_deref(), Some(service_url.1));
        assert_eq!(of_ab(Env::from([endpoint])).as_deref(), Some(endpoint.1));
        // What cannot be used does not stand in the way of what can.
        assert_eq!(of_ab(Env::from([("AB_URL", "ab:1"), service_url])).as_deref(), Some(service_url.1));
    }

    #[test]
    fn what_is_no_service_of_ours_is_never_offered_to_clients() {
        for name in [
            "VERTICE_REGISTRY_URL",
            "REGISTRY_URL",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "IDENTITY_ENDPOINT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "SLACK_WEBHOOK_URL",
            "DATABASE_URL",
            "osint_url",
            "_URL",
            "A_URL",
            "URL",
        ] {
            let (found, warnings) = read(&Env::from([(name, "http://a:1")]));
            assert!(found.is_empty() && warnings.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_malformed_value_is_a_warning_that_does_not_show_it() {
        let (found, warnings) = read(&Env::from([("STORE_URL", "postgres://u:hunter2@db/x")]));
        assert!(found.is_empty());
        assert_eq!(
            warnings,
            ["environment variable STORE_URL is not used as a fall-back of 'store': its value is not \
              http(s)://host[:port][/path]"]
        );
    }
}
