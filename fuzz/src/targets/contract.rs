//! The registry's contract: names, URLs, bodies, snapshots.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vertice_registry_api::barrier::Ack;
use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::heartbeat::{BatchRequest, HeartbeatRequest};
use vertice_registry_api::legacy::ServiceView;
use vertice_registry_api::probe::Probes;
use vertice_registry_api::register::Registration;
use vertice_registry_api::reject::Rejects;
use vertice_registry_api::snapshot::Snapshot;
use vertice_registry_api::watch::{Bookmark, Change, Gone, WatchAnswer};
use vertice_registry_api::{HealthPath, Instance, InstanceId, Metadata, Position, ServiceName, ServiceUrl};
use vertice_registry_client::source::snapshot::SnapshotReader;

use super::told;
use crate::Target;

const FIELDS: &[&str] = &[
    "\"service_name\"",
    "\"service\"",
    "\"endpoint\"",
    "\"url\"",
    "\"instance_id\"",
    "\"health_endpoint\"",
    "\"metadata\"",
    "\"ttl\"",
    "\"ttl_s\"",
    "\"status\"",
    "\"draining\"",
    "\"up\"",
    "\"weight\"",
    "\"zone\"",
    "\"incarnation\"",
    "\"generation\"",
    "\"epoch\"",
    "\"revision\"",
    "\"digest\"",
    "\"count\"",
    "\"state\"",
    "null",
    "true",
    "{}",
    "[]",
    "http://",
    "https://",
    "@legacy",
    "[::1]",
    "127.0.0.1",
    "\\u0000",
    "\\ud800",
];

pub(super) const NAMES: Target = Target {
    name: "names",
    what: "names of services and instances, health paths, positions, digests, metadata",
    feed: names,
    words: FIELDS,
};

fn names(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let service = ServiceName::parse(&text);
    if let Ok(name) = &service {
        assert_eq!(name.as_str(), text, "a name is kept as it is written");
        assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic()), "and has no byte that breaks a line");
    }
    let instance = InstanceId::parse(&text);
    if let Ok(id) = &instance {
        assert!(id.as_str().bytes().all(|b| b.is_ascii_graphic()) && id.as_str() == text);
    }
    let health = HealthPath::parse(&text);
    if let Ok(path) = &health {
        assert!(path.as_str().starts_with('/') && path.as_str().bytes().all(|b| b.is_ascii_graphic()));
    }
    let position = text.parse::<Position>();
    if let Ok(position) = &position {
        assert_eq!(position.to_string().parse::<Position>().as_ref(), Ok(position));
    }
    let digest = SetDigest::try_from(text.to_string());
    let metadata = serde_json::from_slice::<Metadata>(input);
    [
        told("service", &service),
        told("instance", &instance),
        told("health", &health),
        format!("position {} digest {} ", position.is_ok(), digest.is_ok()),
        told("metadata", &metadata),
    ]
    .concat()
}

pub(super) const SERVICE_URL: Target = Target {
    name: "service_url",
    what: "URLs of instances",
    feed: service_url,
    words: &[
        "http://",
        "https://",
        "HTTP://",
        "[::1]",
        "[::ffff:127.0.0.1]",
        ":80",
        ":0",
        ":65536",
        "/../",
        "/%2e%2e",
        "@",
        "?",
        "#",
        "//",
        "a.b",
        "xn--",
    ],
};

fn service_url(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let parsed = ServiceUrl::parse(&text);
    if let Ok(url) = &parsed {
        let written = url.to_string();
        assert_eq!(
            ServiceUrl::parse(&written).as_ref(),
            Ok(url),
            "what is written is read as the same: {written}"
        );
        assert!(!written.contains(['?', '#', ' ', '\\']), "{written}");
        let authority = written.split('/').nth(2).unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains('@'), "{written}");
        assert!(!url.base().split('/').any(|part| matches!(part, "." | "..")), "{written}");
    }
    told("url", &parsed)
}

pub(super) const REGISTRATION: Target = Target {
    name: "registration",
    what: "bodies of the old and the new registration",
    feed: registration,
    words: FIELDS,
};

fn registration(input: &[u8]) -> String {
    let mut answer = String::new();
    let (service, id) = (ServiceName::parse("fed_service"), InstanceId::parse("fed:1"));
    let put = service.ok().zip(id.ok()).map(|(service, id)| Registration::from_put_body(service, id, input));
    for outcome in [Some(Registration::from_old_body(input)), put].into_iter().flatten() {
        match outcome {
            Ok(registration) => {
                assert!(registration.url.to_string().starts_with("http"));
                answer.push_str("ok; ");
            }
            Err(errors) => {
                assert!(!errors.is_empty(), "a refusal has a reason");
                for error in errors {
                    answer.push_str(&format!("{error:?}; "));
                }
            }
        }
    }
    answer
}

pub(super) const BODIES: Target = Target {
    name: "bodies",
    what: "all other bodies of the contract, each must survive a round trip",
    feed: bodies,
    words: FIELDS,
};

fn round_trip<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    name: &str,
    input: &[u8],
) -> String {
    let parsed = serde_json::from_slice::<T>(input);
    if let Ok(value) = &parsed {
        let written = serde_json::to_vec(value).expect("a body that was read can be written");
        let again = serde_json::from_slice::<T>(&written);
        assert_eq!(again.as_ref().ok(), Some(value), "{}", String::from_utf8_lossy(&written));
    }
    told(name, &parsed)
}

fn bodies(input: &[u8]) -> String {
    [
        round_trip::<HeartbeatRequest>("heartbeat", input),
        round_trip::<BatchRequest>("batch", input),
        round_trip::<Ack>("ack", input),
        round_trip::<Probes>("probes", input),
        round_trip::<Rejects>("rejects", input),
        round_trip::<Change>("change", input),
        round_trip::<Gone>("gone", input),
        round_trip::<Bookmark>("bookmark", input),
        round_trip::<WatchAnswer>("watch", input),
        round_trip::<Instance>("instance", input),
        round_trip::<ServiceView>("view", input),
        round_trip::<BTreeMap<ServiceName, ServiceView>>("views", input),
    ]
    .concat()
}

pub(super) const SNAPSHOT: Target = Target {
    name: "snapshot",
    what: "snapshots (NDJSON), read whole and piece by piece: both must say the same",
    feed: snapshot,
    words: FIELDS,
};

fn snapshot(input: &[u8]) -> String {
    let whole = Snapshot::parse(input);
    let mut outcomes = Vec::new();
    for piece in [1, 7, input.len().max(1)] {
        let mut reader = SnapshotReader::new("application/x-ndjson".into());
        let fed = input.chunks(piece).try_for_each(|bytes| reader.feed(bytes));
        outcomes.push(fed.and_then(|()| reader.finish()));
    }
    for outcome in &outcomes {
        let same = outcome.as_ref().ok().map(|s| (s.position, s.digest, s.instances.len()))
            == outcomes[0].as_ref().ok().map(|s| (s.position, s.digest, s.instances.len()));
        assert!(same, "the pieces' size matters: {outcomes:?}");
    }
    if let (Ok(streamed), Ok(whole)) = (&outcomes[0], &whole) {
        assert_eq!(streamed.position, whole.position);
        assert_eq!(streamed.digest, whole.digest);
        assert_eq!(streamed.instances, whole.instances);
    }
    if whole.is_ok() {
        assert!(outcomes[0].is_ok(), "only the whole reader takes it: {:?}", outcomes[0]);
    }
    told("whole", &whole) + &told("streamed", &outcomes[0])
}
