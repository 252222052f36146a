//! What a healthy answer's body tells about the service: `version` and `status`, as the original took them. Pure.

use serde_json::Value;
use vertice_registry_api::Metadata;

/// The keys that are taken over.
const KEYS: [&str; 2] = ["version", "status"];

/// The metadata in a health answer; empty from a body that is no JSON object or breaks the limits.
pub fn from_body(body: &[u8]) -> Metadata {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return Metadata::default() };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let entries = KEYS.iter().filter_map(|key| {
        let value = object.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), text(value)))
    });
    Metadata::new(entries.collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_status_become_strings() {
        let metadata = from_body(br#"{"version":2.1,"status":"healthy","uptime":7}"#);
        let entries: Vec<_> = metadata.iter().collect();
        assert_eq!(entries, [("status", "healthy"), ("version", "2.1")]);
    }

    #[test]
    fn anything_else_is_no_metadata() {
        let long = format!(r#"{{"version":"{}"}}"#, "v".repeat(1000));
        for body in ["", "OK", "[]", "\"ok\"", "{\"version\":", r#"{"version":null}"#, long.as_str()] {
            assert!(from_body(body.as_bytes()).is_empty(), "{body}");
        }
    }
}
