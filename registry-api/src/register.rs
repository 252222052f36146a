//! Registering: the checked [`Registration`], how it is read from a body (every bad field at once), and the answer.
//!
//! Two bodies lead to the same type. The old call names the service in `service_name` and the URL in `endpoint`, and
//! without an `instance_id` means the reserved instance `@legacy`. `PUT /v1/services/{s}/instances/{id}` takes both
//! names from the path and the URL from `url`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::field_error::FieldError;
use crate::instance::Status;
use crate::limits;
use crate::metadata::Metadata;
use crate::name::{HealthPath, InstanceId, RuleError, ServiceName, shorten};
use crate::position::{Epoch, Revision};
use crate::reject::Rejection;
use crate::url::ServiceUrl;

/// What a client wants to have registered, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose copy.
    pub service: ServiceName,
    /// Which copy.
    pub instance_id: InstanceId,
    /// The client's start, 0 where the client has none (old clients).
    pub incarnation: u64,
    /// Where it listens.
    pub url: ServiceUrl,
    /// Where it says that it is healthy.
    pub health_endpoint: HealthPath,
    /// Labels.
    pub metadata: Metadata,
    /// Where it stands.
    pub zone: Option<String>,
    /// Its share, [`limits::DEFAULT_WEIGHT`] where not given.
    pub weight: u16,
    /// What it runs.
    pub version: Option<String>,
    /// The lease that is asked for; `None`: the server's default.
    pub ttl_s: Option<u32>,
    /// The owner's word, `up` where not given.
    pub status: Status,
}

/// The answer to a registration. Clients of the old call read the first two fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterAnswer {
    /// For people.
    pub message: String,
    /// Echo.
    pub service_name: ServiceName,
    /// Echo, or `@legacy`.
    pub instance_id: InstanceId,
    /// Wanted by heartbeat, drain and deregister.
    pub generation: u64,
    /// The lease's short name in batches of heartbeats, valid in this epoch.
    pub handle: u64,
    /// Seconds that the lease lasts.
    pub ttl: u32,
    /// Seconds between heartbeats.
    pub heartbeat_interval: u32,
    /// Where in history this is.
    pub epoch: Epoch,
    /// Where in history this is.
    pub revision: Revision,
    /// Gateways that cannot use this entry as it is registered now, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejects: Vec<Rejection>,
}

impl Registration {
    /// Reads the body of the old `POST /register`. Unknown fields are ignored, as they always were.
    pub fn from_old_body(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        let service = fields.required("service_name", ServiceName::parse);
        let instance_id =
            fields.optional("instance_id", InstanceId::parse).map(|id| id.unwrap_or_else(InstanceId::legacy));
        let url = fields.required("endpoint", ServiceUrl::parse);
        fields.rest(service, instance_id, url)
    }

    /// Reads the body of `PUT /v1/services/{service}/instances/{id}`.
    pub fn from_put_body(service: ServiceName, id: InstanceId, body: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut fields = Fields::parse(body)?;
        if id.is_legacy() {
            fields.errors.push(FieldError::path("id", "@legacy is reserved for clients of the old calls"));
        }
        let url = fields.required("url", ServiceUrl::parse);
        fields.rest(Some(service), Some(id), url)
    }

    /// The body of `PUT /v1/services/{service}/instances/{id}` that reads back as `self`.
    pub fn to_put_body(&self) -> Value {
        let mut body = self.common_body();
        body.insert("url".into(), self.url.to_string().into());
        body.insert("incarnation".into(), self.incarnation.into());
        body.insert("weight".into(), self.weight.into());
        body.insert("status".into(), self.status.as_str().into());
        for (key, value) in [("zone", &self.zone), ("version", &self.version)] {
            if let Some(value) = value {
                body.insert(key.into(), value.as_str().into());
            }
        }
        if let Some(ttl_s) = self.ttl_s {
            body.insert("ttl".into(), ttl_s.into());
        }
        Value::Object(body)
    }

    /// The body of the old `POST /register` as the original sidecar sends it: four fields and no more.
    pub fn to_old_body(&self) -> Value {
        let mut body = Map::new();
        body.insert("service_name".into(), self.service.as_str().into());
        body.insert("endpoint".into(), self.url.to_string().into());
        body.extend(self.common_body());
        Value::Object(body)
    }

    fn common_body(&self) -> Map<String, Value> {
        let metadata = self.metadata.iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect();
        let mut body = Map::new();
        body.insert("health_endpoint".into(), self.health_endpoint.as_str().into());
        body.insert("metadata".into(), Value::Object(metadata));
        body
    }
}

/// The fields of one body, taken out one by one while errors gather.
struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, Vec<FieldError>> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Ok(Self { object, errors: Vec::new() }),
            Ok(_) => Err(vec![FieldError::json("the body is JSON but not an object")]),
            Err(error) => Err(vec![FieldError::json(format!("the body is not JSON: {error}"))]),
        }
    }

    fn wrong<T>(&mut self, name: &str, kind: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(FieldError::body(name, kind, message));
        None
    }

    /// A string that must be there. `None` after noting an error.
    fn required<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, RuleError>) -> Option<T> {
        match self.object.remove(name) {
            None => self.wrong(name, "missing", "field required"),
            Some(Value::String(text)) => match check(&text) {
                Ok(value) => Some(value),
                Err(error) => self.wrong(name, "value", error.0),
            },
            Some(other) => {
                self.wrong(name, "type", format!("a string is wanted, this is {}", json_type(&other)))
            }
        }
    }

    /// A string that may be absent or null. The outer `None` follows a noted error.
    #[allow(clippy::option_option, reason = "outer: was it legal; inner: was it there")]
    fn optional<T>(&mut self, name: &str, check: impl Fn(&str) -> Result<T, RuleError>) -> Option<Option<T>> {
        match self.object.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(_) => self.required(name, check).map(Some),
        }
    }

    /// A whole number within `range`, if it is there. The outer `None` follows a noted error.
    #[allow(clippy::option_option, reason = "outer: was it legal; inner: was it there")]
    fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<Option<u64>> {
        match self.object.remove(name) {
            None | Some(Value::Null) => Some(None),
            Some(value) => {
                if let Some(number) = value.as_u64().filter(|n| range.contains(n)) {
                    return Some(Some(number));
                }
                let message = format!("a whole number from {} to {} is wanted", range.start(), range.end());
                self.wrong(name, "value", message)
            }
        }
    }

    /// Values that are not strings become strings: old clients pass a health answer's values unconverted.
    fn metadata(&mut self) -> Option<Metadata> {
        match self.object.remove("metadata") {
            None | Some(Value::Null) => Some(Metadata::default()),
            Some(Value::Object(object)) => {
                let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let entries: BTreeMap<_, _> = object.into_iter().map(|(k, v)| (k, text(v))).collect();
                match Metadata::new(entries) {
                    Ok(metadata) => Some(metadata),
                    Err(error) => self.wrong("metadata", "limit", error.0),
                }
            }
            Some(other) => {
                self.wrong("metadata", "type", format!("an object is wanted, this is {}", json_type(&other)))
            }
        }
    }

    fn rest(
        mut self,
        service: Option<ServiceName>,
        instance_id: Option<InstanceId>,
        url: Option<ServiceUrl>,
    ) -> Result<Registration, Vec<FieldError>> {
        let health_endpoint =
            self.optional("health_endpoint", HealthPath::parse).map(Option::unwrap_or_default);
        let metadata = self.metadata();
        let incarnation = self.number("incarnation", 0..=u64::MAX).map(|n| n.unwrap_or(0));
        let zone = self.optional("zone", |text| short_text(text, "a zone", limits::ZONE_BYTES));
        let version = self.optional("version", |text| short_text(text, "a version", limits::VERSION_BYTES));
        let weight = self
            .number("weight", 0..=limits::MAX_WEIGHT.into())
            .map(|n| n.and_then(|n| u16::try_from(n).ok()).unwrap_or(limits::DEFAULT_WEIGHT));
        let (shortest, longest) = limits::TTL_RANGE_S;
        let ttl_s = self
            .number("ttl", shortest.into()..=longest.into())
            .map(|n| n.and_then(|n| u32::try_from(n).ok()));
        let status = self.optional("status", parse_status).map(Option::unwrap_or_default);
        match (
            service,
            instance_id,
            url,
            health_endpoint,
            metadata,
            incarnation,
            zone,
            version,
            weight,
            ttl_s,
            status,
        ) {
            (
                Some(service),
                Some(instance_id),
                Some(url),
                Some(health_endpoint),
                Some(metadata),
                Some(incarnation),
                Some(zone),
                Some(version),
                Some(weight),
                Some(ttl_s),
                Some(status),
            ) if self.errors.is_empty() => Ok(Registration {
                service,
                instance_id,
                incarnation,
                url,
                health_endpoint,
                metadata,
                zone,
                weight,
                version,
                ttl_s,
                status,
            }),
            _ => Err(self.errors),
        }
    }
}

/// A status from its word, with a message that lists the words.
pub fn parse_status(word: &str) -> Result<Status, RuleError> {
    Status::from_word(word).ok_or_else(|| {
        RuleError(format!("a status is starting, up, draining or down, not {}", shorten(word)))
    })
}

fn short_text(text: &str, what: &str, limit: usize) -> Result<String, RuleError> {
    if text.is_empty() || text.len() > limit || text.chars().any(char::is_control) {
        return Err(RuleError(format!("{what} has 1 to {limit} bytes and no control characters")));
    }
    Ok(text.to_owned())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_sidecars_body_is_accepted_byte_for_byte() {
        let body = br#"{"service_name": "osint_service", "endpoint": "http://vertice-osint:8036", "health_endpoint": "/health", "metadata": {"version": 2.1, "status": "healthy"}}"#;
        let registration = Registration::from_old_body(body).unwrap();
        assert_eq!(registration.instance_id, InstanceId::legacy());
        assert_eq!(registration.metadata.get("version"), Some("2.1"), "numbers become strings");
        assert_eq!(registration.status, Status::Up);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let body = br#"{"service_name":"A B","endpoint":7,"health_endpoint":"x","metadata":[],"weight":-1,"ttl":1,"status":"ok","incarnation":1.5}"#;
        let errors = Registration::from_old_body(body).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|e| e.loc[1].as_str()).collect();
        assert_eq!(
            fields,
            [
                "service_name",
                "endpoint",
                "health_endpoint",
                "metadata",
                "incarnation",
                "weight",
                "ttl",
                "status"
            ]
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_one_error() {
        for body in [&b""[..], b"{", b"[]", b"7", b"\xff"] {
            assert_eq!(Registration::from_old_body(body).unwrap_err().len(), 1);
        }
    }

    #[test]
    fn a_put_body_reads_back_as_it_was_written() {
        let body = br#"{"service_name":"osint_service","instance_id":"a:1","endpoint":"http://a:1","zone":"z","version":"v","ttl":30,"status":"starting","weight":7,"incarnation":9,"metadata":{"k":"v"}}"#;
        let first = Registration::from_old_body(body).unwrap();
        let again = serde_json::to_vec(&first.to_put_body()).unwrap();
        let second = Registration::from_put_body(first.service.clone(), first.instance_id.clone(), &again);
        assert_eq!(second, Ok(first));
    }

    #[test]
    fn the_reserved_instance_is_not_for_v1() {
        let name = ServiceName::parse("osint_service").unwrap();
        let result = Registration::from_put_body(name, InstanceId::legacy(), br#"{"url":"http://a:1"}"#);
        assert_eq!(result.unwrap_err()[0].loc, ["path", "id"]);
    }
}
