//! Every limit of the contract with its reason. A registry answers 422 for a field over its limit, 413 for a body.

/// Entries of one instance's metadata: room for labels, not for documents.
pub const METADATA_ENTRIES: usize = 32;
/// Bytes of a metadata key.
pub const METADATA_KEY_BYTES: usize = 64;
/// Bytes of a metadata value.
pub const METADATA_VALUE_BYTES: usize = 512;
/// Bytes of all metadata keys and values of one instance: bounds the memory of a full registry.
pub const METADATA_BYTES: usize = 4096;
/// Bytes of an instance's URL.
pub const URL_BYTES: usize = 512;
/// Bytes of a health path.
pub const HEALTH_PATH_BYTES: usize = 256;
/// Bytes of a service name: one DNS label, one more for luck.
pub const NAME_BYTES: usize = 64;
/// Bytes of an instance id.
pub const INSTANCE_ID_BYTES: usize = 128;
/// Bytes of a zone.
pub const ZONE_BYTES: usize = 64;
/// Bytes of a version.
pub const VERSION_BYTES: usize = 128;
/// The largest weight; the default is [`DEFAULT_WEIGHT`].
pub const MAX_WEIGHT: u16 = 1000;
/// The weight of an instance that names none.
pub const DEFAULT_WEIGHT: u16 = 100;
/// Bytes of a request body for one instance: a full metadata map with room for escapes.
pub const INSTANCE_BODY_BYTES: usize = 64 * 1024;
/// Leases in one batch of heartbeats; bodies of a batch may have [`BATCH_BODY_BYTES`].
pub const BATCH_LEASES: usize = 10_000;
/// Bytes of a batch of heartbeats: 10 000 pairs of two 20-digit numbers with punctuation.
pub const BATCH_BODY_BYTES: usize = 512 * 1024;
/// Seconds of a lease that asks for none.
pub const DEFAULT_TTL_S: u32 = 60;
/// Shortest and longest lease that may be asked for, in seconds.
pub const TTL_RANGE_S: (u32, u32) = (5, 3600);
/// Seconds beyond the lease before it is taken for expired: bridges one lost heartbeat and its retries.
pub const GRACE_S: u32 = 15;
/// Longest wait of a long poll, in seconds.
pub const WATCH_WAIT_S: u32 = 60;
/// Longest wait of a barrier, in seconds.
pub const BARRIER_WAIT_S: u32 = 60;
