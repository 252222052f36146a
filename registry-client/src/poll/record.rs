//! What an answer about one name of a polled registry means. Pure, and lenient where the original never checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};
use vertice_registry_api::{
    HealthPath, Instance, InstanceId, Lease, Metadata, ServiceName, ServiceUrl, Status, limits,
};

use crate::error::SourceError;
use crate::http::Answer;

/// The lease of every registration with the original.
const OLD_TTL_S: u32 = 60;

/// What one read of one name said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Read {
    /// The record.
    Good(Record),
    /// The registry has no such record, or one without an endpoint (Q11).
    Absent,
    /// Something is there that breaks our rules (Q10).
    Broken(String),
    /// Nothing can be concluded.
    Failed(SourceError),
}

/// A name's instances: one from the original, all of them from a registry that shows them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) instances: Vec<Arc<Instance>>,
    /// When the registry took the registration, by its clock. Orders two answers for the same name.
    pub(crate) registered_at: Duration,
    /// What was left out or replaced to make it fit.
    pub(crate) remark: Option<String>,
}

/// Judges the answer to `GET /services/{name}`.
pub(crate) fn judge(name: &ServiceName, answer: Result<Answer, SourceError>) -> Read {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Read::Failed(error),
    };
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Read::Absent,
        other => return Read::Failed(SourceError::Status(other.as_u16())),
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(object)) => record(name, &object),
        Ok(_) => Read::Failed(answer.not_ours("JSON, but not an object")),
        Err(error) => Read::Failed(answer.not_ours(format!("not JSON: {error}"))),
    }
}

fn record(name: &ServiceName, object: &Map<String, Value>) -> Read {
    // A cache or a proxy that mixes answers up must not move one service's traffic to another.
    if object.get("service_name").is_some_and(|echo| echo != name.as_str()) {
        return Read::Broken("the record names another service".into());
    }
    let registered_at = seconds(object.get("registered_at"));
    if let Some(Value::Array(listed)) = object.get("instances").filter(|v| **v != Value::Array(Vec::new())) {
        return all_instances(name, listed, registered_at);
    }
    let endpoint = match object.get("endpoint") {
        None | Some(Value::Null) => return Read::Absent,
        Some(Value::String(text)) => text,
        Some(_) => return Read::Broken("the endpoint is not a string".into()),
    };
    let url = match ServiceUrl::parse(endpoint) {
        Ok(url) => url,
        Err(error) => return Read::Broken(error.0),
    };
    let mut remark = None;
    let health_endpoint = match object.get("health_endpoint").and_then(Value::as_str).map(HealthPath::parse) {
        Some(Ok(path)) => path,
        None => HealthPath::default(),
        Some(Err(error)) => {
            remark = Some(format!("{}; /health is used", error.0));
            HealthPath::default()
        }
    };
    let metadata = metadata(object.get("metadata")).unwrap_or_else(|error| {
        remark = Some(format!("{error}; no metadata is used"));
        Metadata::default()
    });
    let instance = Instance {
        service: name.clone(),
        instance_id: InstanceId::legacy(),
        incarnation: 0,
        generation: 0,
        url,
        health_endpoint,
        metadata,
        zone: None,
        weight: limits::DEFAULT_WEIGHT,
        version: None,
        status: Status::Up,
        status_override: None,
        stale: false,
        lease: Lease { ttl_s: OLD_TTL_S },
        registered_at_ms: u64::try_from(registered_at.as_millis()).unwrap_or(u64::MAX),
        registered_by: "unknown".into(),
    };
    Read::Good(Record { instances: vec![Arc::new(instance)], registered_at, remark })
}

/// The instances of a registry that shows them all; bad ones are left out singly.
fn all_instances(name: &ServiceName, listed: &[Value], registered_at: Duration) -> Read {
    let mut instances: BTreeMap<InstanceId, Arc<Instance>> = BTreeMap::new();
    let mut remark = None;
    for value in listed {
        match serde_json::from_value::<Instance>(value.clone()) {
            Ok(instance) if instance.service == *name => {
                instances.insert(instance.instance_id.clone(), Arc::new(instance));
            }
            Ok(other) => remark = Some(format!("an instance of {} is left out", other.service)),
            Err(error) => remark = Some(format!("an instance is left out: {error}")),
        }
    }
    match (instances.is_empty(), remark) {
        (true, remark) => Read::Broken(remark.unwrap_or_default()),
        (false, remark) => {
            Read::Good(Record { instances: instances.into_values().collect(), registered_at, remark })
        }
    }
}

fn metadata(value: Option<&Value>) -> Result<Metadata, String> {
    match value {
        None | Some(Value::Null) => Ok(Metadata::default()),
        Some(Value::Object(object)) => {
            let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            let entries = object.iter().map(|(key, value)| (key.clone(), text(value))).collect();
            Metadata::new(entries).map_err(|error| error.0)
        }
        Some(_) => Err("the metadata is not an object".into()),
    }
}

/// Seconds since 1970 as the original writes them; zero for anything that is none.
fn seconds(value: Option<&Value>) -> Duration {
    value.and_then(Value::as_f64).and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{instance, name};
    use http::HeaderMap;

    fn read(status: u16, body: &str) -> Read {
        let status = StatusCode::from_u16(status).unwrap();
        judge(&name("osint_service"), Ok(Answer { status, headers: HeaderMap::new(), body: body.into() }))
    }

    fn good(body: &str) -> Record {
        let read = read(200, body);
        let Read::Good(record) = read else { panic!("{read:?}") };
        record
    }

    #[test]
    fn the_originals_record_becomes_the_reserved_instance() {
        let record = good(
            r#"{"service_name":"osint_service","endpoint":"http://vertice-osint:8036","health_endpoint":"/healthz",
                "metadata":{"version":2.1,"status":"ok"},"registered_at":1700000000.25,"last_heartbeat":1.5,"ttl_remaining":41}"#,
        );
        let [instance] = record.instances.as_slice() else { panic!("one instance") };
        assert!(instance.instance_id.is_legacy());
        assert_eq!(instance.url.to_string(), "http://vertice-osint:8036");
        assert_eq!(instance.health_endpoint.as_str(), "/healthz");
        assert_eq!(instance.metadata.get("version"), Some("2.1"));
        assert_eq!(instance.registered_at_ms, 1_700_000_000_250);
        assert_eq!((instance.generation, instance.lease.ttl_s), (0, 60));
        assert_eq!(record.remark, None);
    }

    #[test]
    fn only_a_404_and_a_record_without_endpoint_are_absence() {
        assert_eq!(read(404, r#"{"detail":"Service 'x' not found"}"#), Read::Absent);
        assert_eq!(read(200, r#"{"service_name":"osint_service","last_heartbeat":1.0}"#), Read::Absent);
        for status in [301, 400, 401, 429, 500, 502, 503] {
            assert_eq!(read(status, "x"), Read::Failed(SourceError::Status(status)), "{status}");
        }
        for body in ["", "[]", "null", "7", "{\"endpoint\":", "<html></html>"] {
            assert!(matches!(read(200, body), Read::Failed(SourceError::NotOurs { .. })), "{body}");
        }
    }

    #[test]
    fn a_record_that_breaks_our_rules_is_named_and_not_used() {
        for body in [
            r#"{"endpoint":"not a url"}"#,
            r#"{"endpoint":""}"#,
            r#"{"endpoint":7}"#,
            r#"{"endpoint":"http://a:1","service_name":"other_service"}"#,
        ] {
            assert!(matches!(read(200, body), Read::Broken(_)), "{body}");
        }
        let record = good(r#"{"endpoint":"http://a:1","health_endpoint":"health","registered_at":"soon"}"#);
        assert_eq!(record.instances[0].health_endpoint.as_str(), "/health");
        assert!(record.remark.is_some(), "and it is said");
    }

    #[test]
    fn listed_instances_count_and_a_bad_one_is_left_out_alone() {
        let two =
            [instance("osint_service", "a:1"), instance("osint_service", "b:1"), instance("other", "c:1")];
        let mut listed: Vec<_> = two.iter().map(|i| serde_json::to_value(i).unwrap()).collect();
        listed.push(serde_json::json!({"url": "nonsense"}));
        let body = serde_json::json!({"service_name": "osint_service", "endpoint": "http://a:1", "instances": listed});
        let record = good(&body.to_string());
        let ids: Vec<_> = record.instances.iter().map(|i| i.instance_id.as_str()).collect();
        assert_eq!(ids, ["a:1", "b:1"]);
        assert!(record.remark.is_some());
        let none = serde_json::json!({"endpoint": "http://a:1", "instances": []});
        assert!(good(&none.to_string()).instances[0].instance_id.is_legacy());
    }
}
