//! The services of today's fleet, read from `data/services_full.csv`.

use std::collections::BTreeMap;

/// A service that has a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetService {
    /// Its name.
    pub name: String,
    /// Where it says that it is healthy.
    pub health_endpoint: String,
}

/// Every service with a sidecar (`source` starts with `sidecar:`), by name; the first entry of a name counts.
pub fn with_sidecar() -> Vec<FleetService> {
    let text = include_str!("../data/services_full.csv");
    let mut services = BTreeMap::new();
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        let record = record.unwrap();
        if record[6].starts_with("sidecar:") {
            let service = FleetService { name: record[0].into(), health_endpoint: record[3].into() };
            services.entry(service.name.clone()).or_insert(service);
        }
    }
    services.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_names_with_their_health_paths() {
        let services = with_sidecar();
        assert_eq!(services.len(), 100);
        assert!(services.iter().any(|service| service.health_endpoint == "/v1/sys/health"));
    }
}
