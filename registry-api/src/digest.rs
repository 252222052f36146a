//! The digest of a set of instances: order-free, and O(1) to keep up to date per change.
//!
//! It is the sum modulo 2^128 of a hash of every (service, id, content). The hash is SHA-256 cut to 128 bits: a
//! registrant chooses the content, so a fast hash would let it craft two sets that look alike.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::instance::Instance;
use crate::name::RuleError;

/// Room for what an instance with some labels has.
const USUAL_BYTES: usize = 512;

/// A sum of content hashes. 32 hex digits on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetDigest(u128);

impl SetDigest {
    /// The digest of `instances`, whatever their order.
    pub fn of<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        let mut sum = Self::default();
        for instance in instances {
            sum.add(instance);
        }
        sum
    }

    /// Takes `instance` in.
    pub fn add(&mut self, instance: &Instance) {
        self.0 = self.0.wrapping_add(content_hash(instance));
    }

    /// Takes all of `other` in.
    pub fn join(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes all of `other`, exactly as it was taken in, out.
    pub fn part(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }

    /// Takes `instance`, exactly as it was added, out.
    pub fn remove(&mut self, instance: &Instance) {
        self.0 = self.0.wrapping_sub(content_hash(instance));
    }
}

/// Hashes every field that `Instance` carries, each with its length, so that no two contents run together.
fn content_hash(instance: &Instance) -> u128 {
    // Hashed in one go: thirty pieces of some bytes each take as long to hand over as to hash.
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    let mut field = |field: &[u8]| {
        bytes.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(field);
    };
    field(instance.service.as_str().as_bytes());
    field(instance.instance_id.as_str().as_bytes());
    field(&instance.incarnation.to_le_bytes());
    field(&instance.generation.to_le_bytes());
    field(instance.url.to_string().as_bytes());
    field(instance.health_endpoint.as_str().as_bytes());
    for (key, value) in instance.metadata.iter() {
        field(key.as_bytes());
        field(value.as_bytes());
    }
    // Absent and empty differ: a present value is tagged.
    for optional in [&instance.zone, &instance.version] {
        match optional {
            None => field(&[0]),
            Some(text) => {
                field(&[1]);
                field(text.as_bytes());
            }
        }
    }
    field(&instance.weight.to_le_bytes());
    field(instance.status.as_str().as_bytes());
    field(instance.status_override.map_or("", super::instance::Status::as_str).as_bytes());
    field(&[u8::from(instance.stale)]);
    field(&instance.lease.ttl_s.to_le_bytes());
    field(&instance.registered_at_ms.to_le_bytes());
    field(instance.registered_by.as_bytes());
    let full = Sha256::digest(&bytes);
    full.iter().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte))
}

impl fmt::Display for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for SetDigest {
    type Error = RuleError;
    fn try_from(text: String) -> Result<Self, RuleError> {
        u128::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(Self)
            .ok_or_else(|| RuleError("a digest is 32 hexadecimal digits".into()))
    }
}

impl From<SetDigest> for String {
    fn from(digest: SetDigest) -> String {
        digest.to_string()
    }
}
