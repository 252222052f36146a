//! An operator's word about held instances, on its way to the discovery task.

use tokio::sync::oneshot;
use vertice_registry_api::{InstanceId, ServiceName};
use vertice_registry_client::Released;

/// Requests that wait; more are told to come again.
pub const QUEUE: usize = 16;

/// Lets held instances go.
#[derive(Debug)]
pub struct Release {
    /// Of this service only.
    pub service: Option<ServiceName>,
    /// This one only.
    pub instance: Option<InstanceId>,
    /// What went; sent when the table no longer has it.
    pub reply: oneshot::Sender<Vec<Released>>,
}
