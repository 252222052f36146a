//! Reading bodies within their limits, and saying which field of a body is wrong.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use vertice_registry_api::{Epoch, FieldError};

use super::refused::Refused;

/// For a whole body: even a full batch over a slow line needs less.
const TIME: Duration = Duration::from_secs(10);
/// Bytes beyond its limit that are read and dropped, so that a client that writes before it reads gets to see the 413.
const DROPPED_BYTES: usize = 16 * 1024 * 1024;

/// A whole body of at most `limit_bytes`.
pub(super) async fn read(body: Incoming, limit_bytes: usize) -> Result<Bytes, Refused> {
    match tokio::time::timeout(TIME, collect(body, limit_bytes)).await {
        Ok(result) => result,
        Err(_) => Err(Refused::SlowBody),
    }
}

async fn collect(mut body: Incoming, limit_bytes: usize) -> Result<Bytes, Refused> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refused::BrokenBody)?.into_data() else { continue };
        seen += data.len();
        if seen > limit_bytes {
            whole.clear();
            if seen > limit_bytes + DROPPED_BYTES {
                break;
            }
        } else if first.is_empty() {
            // Nearly every body is one frame: no copy.
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    if seen > limit_bytes {
        return Err(Refused::TooLarge { limit_bytes });
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// What a field of a small fixed body must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Number,
    Epoch,
    /// A list of pairs of whole numbers.
    Pairs,
    /// A list whose elements are judged by their own types.
    List,
}

/// A field of a small fixed body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// Says what is wrong with a body that did not parse (`error`), field by field.
pub(super) fn diagnose(body: &[u8], fields: &[Field], error: &serde_json::Error) -> Refused {
    let object = match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Refused::field(FieldError::json("the body is JSON but not an object")),
        Err(error) => return Refused::field(FieldError::json(format!("the body is not JSON: {error}"))),
    };
    let mut errors = Vec::new();
    for field in fields {
        match object.get(field.name) {
            None | Some(Value::Null) if !field.required => {}
            None => errors.push(FieldError::body(field.name, "missing", "field required")),
            Some(value) => {
                if let Some(wanted) = wanted(field.kind, value) {
                    errors.push(FieldError::body(field.name, "type", format!("{wanted} is wanted")));
                }
            }
        }
    }
    if errors.is_empty() {
        // A field that stands there twice, for instance.
        errors.push(FieldError::json(error.to_string()));
    }
    Refused::Fields(errors)
}

/// What would be right, if `value` is not.
fn wanted(kind: Kind, value: &Value) -> Option<&'static str> {
    let pair = |v: &Value| v.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_u64));
    let (right, wanted) = match kind {
        Kind::Text => (value.is_string(), "a string"),
        Kind::Number => (value.is_u64(), "a whole number"),
        Kind::Epoch => {
            (value.as_str().is_some_and(|s| s.parse::<Epoch>().is_ok()), "a string of 32 hexadecimal digits")
        }
        Kind::List => (value.is_array(), "a list"),
        Kind::Pairs => (
            value.as_array().is_some_and(|pairs| pairs.iter().all(pair)),
            "a list of [handle, generation] pairs of whole numbers",
        ),
    };
    (!right).then_some(wanted)
}
