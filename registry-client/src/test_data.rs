//! Instances and answers for this crate's unit tests.

use vertice_registry_api::digest::SetDigest;
use vertice_registry_api::snapshot::{SnapshotHead, SnapshotTrailer};
use vertice_registry_api::{
    Epoch, HealthPath, Instance, InstanceId, Lease, Metadata, Position, Revision, ServiceName, ServiceUrl,
    SourceState, Status,
};

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

/// An instance that is up at `http://{id}`.
pub(crate) fn instance(service: &str, instance_id: &str) -> Instance {
    Instance {
        service: name(service),
        instance_id: id(instance_id),
        incarnation: 1,
        generation: 1,
        url: ServiceUrl::parse(&format!("http://{instance_id}")).unwrap(),
        health_endpoint: HealthPath::default(),
        metadata: Metadata::default(),
        zone: None,
        weight: 100,
        version: None,
        status: Status::Up,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s: 60 },
        registered_at_ms: 0,
        registered_by: "test".into(),
    }
}

pub(crate) fn at(epoch: u128, revision: u64) -> Position {
    Position { epoch: Epoch(epoch), revision: Revision(revision) }
}

/// A serving registry's snapshot.
pub(crate) fn snapshot_text(epoch: u128, revision: u64, instances: &[Instance]) -> String {
    let Position { epoch, revision } = at(epoch, revision);
    let head = SnapshotHead { epoch, revision, state: SourceState::Serving };
    let trailer =
        SnapshotTrailer { count: u64::try_from(instances.len()).unwrap(), digest: SetDigest::of(instances) };
    let mut text = serde_json::to_string(&head).unwrap() + "\n";
    for instance in instances {
        text += &(serde_json::to_string(instance).unwrap() + "\n");
    }
    text + &serde_json::to_string(&trailer).unwrap() + "\n"
}
