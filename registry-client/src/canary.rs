//! A numbered entry of our own in a registry: whoever hears a number back over the watch knows that the watch lives.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{HealthPath, Instance, InstanceId, Metadata, ServiceName, ServiceUrl, Status};

use crate::error::SourceError;
use crate::http::Client;
use crate::registration::calls;
use crate::registration::judge::{self, Verdict};
use crate::token::Token;

/// The service under which every canary stands. It never takes requests.
pub const CANARY_SERVICE: &str = "vertice-canary";
/// A name that no resolver has (RFC 6761): nobody can be sent there, and no endpoint policy has an address to refuse.
const CANARY_URL: &str = "http://canary.invalid:1";
/// The label that carries the number.
const COUNT: &str = "count";
/// Three numbers may be lost before the entry is; one that nobody writes any more is gone soon.
const TTL_S: u32 = 45;

/// Which registry, and who writes.
#[derive(Clone)]
pub struct CanaryConfig {
    /// Where it is.
    pub url: ServiceUrl,
    /// Sent as `X-Registry-Token`.
    pub token: Token,
    /// The writer's name; the entry's instance id.
    pub id: InstanceId,
    /// The wall clock at the start of this process in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// For one write.
    pub request_timeout: Duration,
}

/// What came of the last write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CanaryState {
    /// Nothing was written yet.
    #[default]
    Idle,
    /// The registry has this number.
    Written(u64),
    /// The registry does not let us; not tried again.
    Refused(String),
    /// It did not work this time.
    Failed(String),
}

/// The writer. Dropping it leaves the entry to its lease.
#[derive(Debug)]
pub struct Canary {
    wanted: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    state: watch::Receiver<CanaryState>,
    task: JoinHandle<()>,
}

impl Canary {
    /// Starts on the current tokio runtime; writes nothing before [`Canary::write`].
    pub fn start(config: CanaryConfig) -> Self {
        let (wanted, wanted_now) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let (state, state_now) = watch::channel(CanaryState::Idle);
        let task = tokio::spawn(run(config, wanted_now, stopped, state));
        Self { wanted, stop, state: state_now, task }
    }

    /// Writes `number` in the background, once.
    pub fn write(&self, number: u64) {
        self.wanted.send_replace(number);
    }

    /// What came of the last write.
    pub fn state(&self) -> CanaryState {
        self.state.borrow().clone()
    }

    /// Takes the entry back, within `limit`.
    pub async fn remove(mut self, limit: Duration) {
        self.stop.send_replace(true);
        // Late: its lease runs out.
        let _ = tokio::time::timeout(limit, &mut self.task).await;
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The number in a canary's entry, whoever wrote it; `None` for any other instance.
pub fn canary_number(instance: &Instance) -> Option<u64> {
    let number = is_canary(&instance.service).then(|| instance.metadata.get(COUNT))??;
    number.parse().ok()
}

/// Whether this is the service under which canaries stand.
pub fn is_canary(service: &ServiceName) -> bool {
    service.as_str() == CANARY_SERVICE
}

async fn run(
    config: CanaryConfig,
    mut wanted: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
    state: watch::Sender<CanaryState>,
) {
    let (client, entry) = match (Client::new(&config.url, &config.token), entry(&config)) {
        (Ok(client), Some(entry)) => (client, entry),
        (Err(error), _) => {
            state.send_replace(CanaryState::Refused(error.to_string()));
            return;
        }
        (Ok(_), None) => return,
    };
    let mut generation = None;
    loop {
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            stopped = stop.changed() => {
                if let (Ok(()), Some(generation)) = (stopped, generation) {
                    let _ = calls::remove(&client, &entry, generation, config.request_timeout).await;
                }
                return;
            }
        }
        let number = *wanted.borrow_and_update();
        let mut entry = entry.clone();
        entry.metadata = label(number).unwrap_or_default();
        let answer = calls::put(&client, &entry, config.request_timeout).await;
        let told = judged(number, &answer, &mut generation);
        let refused = matches!(told, CanaryState::Refused(_));
        state.send_replace(told);
        if refused {
            return;
        }
    }
}

fn judged(
    number: u64,
    answer: &Result<crate::http::Answer, SourceError>,
    generation: &mut Option<u64>,
) -> CanaryState {
    match answer.as_ref().map(judge::put) {
        Ok(Verdict::Granted(granted)) => {
            *generation = Some(granted.generation);
            CanaryState::Written(number)
        }
        Ok(Verdict::Refused(words)) => CanaryState::Refused(words),
        Ok(Verdict::UnknownCall) => CanaryState::Failed("the registry does not know the call".into()),
        Ok(Verdict::Failed(words)) => CanaryState::Failed(words),
        Err(error) => CanaryState::Failed(error.to_string()),
    }
}

/// Down and without weight: no reader of the registry routes anything to it.
fn entry(config: &CanaryConfig) -> Option<Registration> {
    Some(Registration {
        service: ServiceName::parse(CANARY_SERVICE).ok()?,
        instance_id: config.id.clone(),
        incarnation: config.started_unix_ms << 16,
        url: ServiceUrl::parse(CANARY_URL).ok()?,
        health_endpoint: HealthPath::default(),
        metadata: Metadata::default(),
        zone: None,
        weight: 0,
        version: None,
        ttl_s: Some(TTL_S),
        status: Status::Down,
    })
}

fn label(number: u64) -> Option<Metadata> {
    Metadata::new([(COUNT.to_owned(), number.to_string())].into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{id, instance};

    #[test]
    fn an_entry_carries_its_number_and_takes_no_requests() {
        let config = CanaryConfig {
            url: ServiceUrl::parse("http://r:1").unwrap(),
            token: Token::default(),
            id: id("gateway-1"),
            started_unix_ms: 5,
            request_timeout: Duration::from_secs(1),
        };
        let entry = entry(&config).unwrap();
        assert_eq!((entry.status, entry.weight), (Status::Down, 0));
        let seen = Instance { metadata: label(7).unwrap(), ..instance(CANARY_SERVICE, "gateway-1") };
        assert_eq!(canary_number(&seen), Some(7));
        let other = Instance { metadata: label(7).unwrap(), ..instance("alpha", "gateway-1") };
        assert_eq!(canary_number(&other), None);
        assert_eq!(canary_number(&instance(CANARY_SERVICE, "gateway-1")), None);
    }
}
