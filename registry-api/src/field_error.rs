//! What is wrong with one field of a body, in the shape that clients of the original registry read.

use serde::{Deserialize, Serialize};

/// One entry of the `detail` list of a 422 answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where: `["body", "endpoint"]`, `["path", "service"]`.
    pub loc: Vec<String>,
    /// What is wrong and what would be right, for a person.
    pub msg: String,
    /// A stable word for a program: `missing`, `type`, `value`, `limit`, `json`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl FieldError {
    /// An error of the field `name` inside the body.
    pub fn body(name: &str, kind: &str, msg: impl Into<String>) -> Self {
        Self { loc: vec!["body".into(), name.into()], msg: msg.into(), kind: kind.into() }
    }

    /// An error of the path segment called `name`.
    pub fn path(name: &str, msg: impl Into<String>) -> Self {
        Self { loc: vec!["path".into(), name.into()], msg: msg.into(), kind: "value".into() }
    }

    /// An error of the query parameter `name`.
    pub fn query(name: &str, msg: impl Into<String>) -> Self {
        Self { loc: vec!["query".into(), name.into()], msg: msg.into(), kind: "value".into() }
    }

    /// The body as a whole is not JSON.
    pub fn json(msg: impl Into<String>) -> Self {
        Self { loc: vec!["body".into()], msg: msg.into(), kind: "json".into() }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.loc.join("."), self.msg)
    }
}
