//! What gateways found out about stale instances.

use serde::{Deserialize, Serialize};

use crate::name::{InstanceId, ServiceName};

/// Most instances in one `POST /v1/probes`.
pub const MAX_DEAD: usize = 1000;

/// `POST /v1/probes`: a gateway's probes prove that these are dead. It counts for stale instances only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// The gateway's own id.
    pub gateway: String,
    /// Service, instance, and the generation that was probed.
    pub dead: Vec<(ServiceName, InstanceId, u64)>,
}
