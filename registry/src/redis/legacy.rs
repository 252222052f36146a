//! The original's hash `services:{name}`: how an instance is written there, and what is read from it. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use vertice_registry_api::register::Registration;
use vertice_registry_api::{
    HealthPath, Instance, InstanceId, Metadata, ServiceName, ServiceUrl, Status, limits,
};

use super::literal;

/// Endpoint, health path, metadata, time of registration, lifetime in seconds: as the scripts want them.
pub(super) fn fields(instance: &Instance) -> [String; 5] {
    let registered_at = Duration::from_millis(instance.registered_at_ms).as_secs_f64();
    [
        instance.url.to_string(),
        instance.health_endpoint.as_str().to_owned(),
        literal::write(instance.metadata.iter()),
        // Python reads it with float(): `1.0`, never `1e9`.
        format!("{registered_at:?}"),
        instance.lease.ttl_s.to_string(),
    ]
}

/// What a hash says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// None, or one without an endpoint, which the original's heartbeat leaves behind in a race.
    Absent,
    Present(Box<Registration>),
    /// It cannot be one of ours: the reason.
    Rejected(String),
}

/// Reads the hash of `name`.
pub(super) fn read(name: &str, hash: &HashMap<String, Vec<u8>>) -> Entry {
    if !hash.contains_key("endpoint") {
        return Entry::Absent;
    }
    match registration(name, hash) {
        Ok(registration) => Entry::Present(Box::new(registration)),
        Err(why) => Entry::Rejected(why),
    }
}

fn registration(name: &str, hash: &HashMap<String, Vec<u8>>) -> Result<Registration, String> {
    let text = |field: &str| {
        let bytes = hash.get(field).map_or(&[][..], Vec::as_slice);
        std::str::from_utf8(bytes).map_err(|_| format!("{field} is not UTF-8"))
    };
    let service = ServiceName::parse(name).map_err(|error| error.0)?;
    let url = ServiceUrl::parse(text("endpoint")?).map_err(|error| error.0)?;
    let health_endpoint = match text("health_endpoint")? {
        "" => HealthPath::default(),
        path => HealthPath::parse(path).map_err(|error| error.0)?,
    };
    let entries = match text("metadata")? {
        "" => BTreeMap::new(),
        literal => literal::read(literal).map_err(|why| format!("metadata: {why}"))?,
    };
    let metadata = Metadata::new(entries).map_err(|error| error.0)?;
    Ok(Registration {
        service,
        instance_id: InstanceId::legacy(),
        incarnation: 0,
        url,
        health_endpoint,
        metadata,
        zone: None,
        weight: limits::DEFAULT_WEIGHT,
        version: None,
        ttl_s: None,
        status: Status::Up,
    })
}

/// What is to be done about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// The same on both sides and alive there: alive here.
    Alive,
    /// Theirs is newer: every write of ours writes the hash in the same step.
    Take(Box<Registration>),
    /// An old replica took it away.
    Remove,
    /// They do not have ours.
    Publish,
}

/// What is known of one name when its hash was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The hash was there at an earlier look.
    pub(super) before: bool,
    /// The name stands in the index.
    pub(super) indexed: bool,
    /// One of our clients renewed it since the last look.
    pub(super) heard: bool,
}

/// Compares a hash with the instance `@legacy` of that name.
pub(super) fn step(entry: &Entry, held: Option<&Instance>, seen: Seen) -> Step {
    match (entry, held) {
        (Entry::Present(theirs), Some(ours)) if same(theirs, ours) => Step::Alive,
        (Entry::Present(theirs), _) => Step::Take(theirs.clone()),
        (Entry::Absent, Some(_)) if seen.heard || !seen.before => Step::Publish,
        (Entry::Absent, Some(_)) if !seen.indexed => Step::Remove,
        // Of ours that ran out there: here it has its grace.
        (Entry::Absent | Entry::Rejected(_), _) => Step::Nothing,
    }
}

fn same(theirs: &Registration, ours: &Instance) -> bool {
    theirs.url == ours.url
        && theirs.health_endpoint == ours.health_endpoint
        && theirs.metadata == ours.metadata
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::instance;
    use super::*;

    fn hash(pairs: &[(&str, &str)]) -> HashMap<String, Vec<u8>> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
    }

    fn theirs(endpoint: &str) -> Entry {
        read("osint_service", &hash(&[("endpoint", endpoint), ("metadata", "{'version': '2.1'}")]))
    }

    #[test]
    fn a_hash_as_the_original_writes_it() {
        let entry = read(
            "osint_service",
            &hash(&[
                ("endpoint", "http://vertice-osint:8036"),
                ("health_endpoint", "/health"),
                ("metadata", "{'version': '2.1', 'status': 'healthy'}"),
                ("registered_at", "1795458992.1330001"),
                ("last_heartbeat", "1795458992.1330001"),
            ]),
        );
        let Entry::Present(registration) = entry else { panic!("{entry:?}") };
        assert_eq!(registration.url.to_string(), "http://vertice-osint:8036");
        assert_eq!(registration.metadata.get("version"), Some("2.1"));
    }

    #[test]
    fn what_cannot_be_ours_is_rejected_and_what_has_no_endpoint_is_absent() {
        assert_eq!(read("ab", &hash(&[])), Entry::Absent);
        assert_eq!(read("ab", &hash(&[("last_heartbeat", "1.0")])), Entry::Absent);
        for (name, pairs) in [
            ("a/b", &[("endpoint", "http://h:1")][..]),
            ("", &[("endpoint", "http://h:1")]),
            ("ab", &[("endpoint", "not a url")]),
            ("ab", &[("endpoint", "http://h:1"), ("metadata", "__import__('os')")]),
            ("ab", &[("endpoint", "http://h:1"), ("health_endpoint", "health")]),
        ] {
            assert!(matches!(read(name, &hash(pairs)), Entry::Rejected(_)), "{name} {pairs:?}");
        }
    }

    #[test]
    fn an_instance_is_written_as_python_reads_it() {
        let mut ours = instance("osint_service", "@legacy", 1);
        ours.registered_at_ms = 1_795_458_992_133;
        let [endpoint, health, metadata, registered_at, ttl_s] = fields(&ours);
        assert_eq!((endpoint.as_str(), health.as_str(), metadata.as_str()), ("http://h:80", "/health", "{}"));
        assert_eq!((registered_at.as_str(), ttl_s.as_str()), ("1795458992.133", "60"));
    }

    #[test]
    fn each_difference_has_its_step() {
        let mut ours = instance("osint_service", "@legacy", 1);
        let present = theirs("http://h:80");
        let seen = |before, indexed, heard| Seen { before, indexed, heard };
        assert!(matches!(step(&present, None, Seen::default()), Step::Take(_)));
        assert!(
            matches!(step(&present, Some(&ours), seen(true, true, true)), Step::Take(_)),
            "other metadata"
        );
        ours.metadata = Metadata::new([("version".to_owned(), "2.1".to_owned())].into()).unwrap();
        assert_eq!(step(&present, Some(&ours), Seen::default()), Step::Alive);
        assert_eq!(step(&Entry::Absent, Some(&ours), seen(false, false, false)), Step::Publish);
        assert_eq!(step(&Entry::Absent, Some(&ours), seen(true, false, true)), Step::Publish);
        assert_eq!(step(&Entry::Absent, Some(&ours), seen(true, false, false)), Step::Remove);
        assert_eq!(step(&Entry::Absent, Some(&ours), seen(true, true, false)), Step::Nothing);
        assert_eq!(step(&Entry::Rejected("x".into()), Some(&ours), seen(true, false, false)), Step::Nothing);
    }
}
