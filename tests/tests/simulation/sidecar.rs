//! A service with its sidecar: the real judgement of answers and the real pace, behind a modelled wire.

use std::time::Duration;

use tokio::time::Instant;
use vertice_registry::store::Patch;
use vertice_registry_api::register::Registration;
use vertice_registry_api::{
    Epoch, HealthPath, InstanceId, Metadata, Position, ServiceName, ServiceUrl, Status, limits,
};
use vertice_registry_client::Answer;
use vertice_registry_client::registration::judge::{self, Beat, Granted, Verdict};
use vertice_registry_client::registration::pace::{Due, PaceState, TriesState};

use super::network::{Call, Reply};
use super::registry::START_UNIX_MS;
use super::truth::Key;

const PUT_DEADLINE: Duration = Duration::from_secs(10);
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at the barrier, and how long a service waits for it.
const BARRIER_PAUSE: Duration = Duration::from_millis(500);
const BARRIER_PATIENCE: Duration = Duration::from_secs(10);

/// What a running sidecar is about.
enum Phase {
    Registering(TriesState),
    Standing(Granted, PaceState),
    /// It said that it drains, or is about to.
    Draining {
        granted: Granted,
        told: Option<Position>,
        until: Duration,
    },
    /// The service ended; the sidecar says goodbye.
    Leaving,
}

struct Process {
    wanted: Registration,
    phase: Phase,
    waiting: Option<u64>,
    /// The update that is on its way, if it is one.
    updating: bool,
    since: Duration,
}

pub struct Sidecar {
    pub service: ServiceName,
    pub id: InstanceId,
    zone: Option<String>,
    process: Option<Process>,
    /// Whether the service itself answers.
    serves: bool,
    /// Timers of an earlier mind mean nothing.
    pub timer: u64,
    pub skew_ms: i64,
    pub paused_until: Duration,
}

/// What a sidecar wants done.
#[derive(Debug)]
pub enum Wish {
    /// To be sent; a silence of the length given is an answer, too.
    Send(Call, Duration),
    /// To be woken.
    Wake(Duration),
    /// All gateways that count have applied that it drains.
    Promise { generation: u64, epoch: Epoch, gateways: std::collections::BTreeSet<(usize, u64)> },
    /// It ended; to be started again.
    Ended,
}

/// Turns the time of the run into what the real code wants.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub Instant);

impl Clock {
    pub fn instant(self, now: Duration) -> Instant {
        self.0 + now
    }

    pub fn since(self, instant: Instant) -> Duration {
        instant.duration_since(self.0)
    }
}

impl Sidecar {
    pub fn new(number: usize) -> Self {
        // Twenty-four services of eight, and eight that have one instance only.
        let service = if number < 192 { number % 24 } else { number };
        Self {
            service: ServiceName::parse(&format!("service-{service:03}")).unwrap(),
            id: InstanceId::parse(&format!("host-{number:03}:80")).unwrap(),
            zone: [None, Some("a".to_owned()), Some("b".to_owned())][number % 3].clone(),
            process: None,
            serves: false,
            timer: 0,
            skew_ms: 0,
            paused_until: Duration::ZERO,
        }
    }

    pub fn key(&self) -> Key {
        (self.service.clone(), self.id.clone())
    }

    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Whether the service would answer a request, or a probe.
    pub fn serves(&self) -> bool {
        self.serves
    }

    /// Since when it has wanted to be up, all the time.
    pub fn wants_requests_since(&self) -> Option<Duration> {
        let process = self.process.as_ref().filter(|p| self.serves && p.wanted.status == Status::Up)?;
        match process.phase {
            Phase::Registering(_) | Phase::Standing(..) => Some(process.since),
            Phase::Draining { .. } | Phase::Leaving => None,
        }
    }

    pub fn start(&mut self, now: Duration, rng: &mut fastrand::Rng) -> Vec<Wish> {
        let unix_ms = START_UNIX_MS + u64::try_from(now.as_millis()).unwrap();
        let unix_ms = unix_ms.saturating_add_signed(self.skew_ms);
        let wanted = Registration {
            service: self.service.clone(),
            instance_id: self.id.clone(),
            incarnation: unix_ms << 16 | u64::from(rng.u16(..)),
            url: ServiceUrl::parse(&format!("http://{}", self.id)).unwrap(),
            health_endpoint: HealthPath::default(),
            metadata: Metadata::default(),
            zone: self.zone.clone(),
            weight: limits::DEFAULT_WEIGHT,
            version: None,
            ttl_s: None,
            status: Status::Up,
        };
        self.serves = true;
        let phase = Phase::Registering(TriesState::new());
        self.process = Some(Process { wanted, phase, waiting: None, updating: false, since: now });
        self.put()
    }

    /// Of the registration that stands.
    pub fn generation(&self) -> Option<u64> {
        match self.process.as_ref()?.phase {
            Phase::Standing(granted, _) | Phase::Draining { granted, .. } => Some(granted.generation),
            Phase::Registering(_) | Phase::Leaving => None,
        }
    }

    /// It is gone without a word.
    pub fn crash(&mut self) {
        self.process = None;
        self.serves = false;
        self.timer += 1;
    }

    fn put(&mut self) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        vec![Wish::Send(Call::Put(Box::new(process.wanted.clone())), PUT_DEADLINE)]
    }

    /// Other content from now on.
    pub fn change(&mut self, clock: Clock, now: Duration, rng: &mut fastrand::Rng) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        if rng.u8(..4) == 0 {
            let (status, since) = match process.wanted.status {
                Status::Up => (Status::Down, process.since),
                _ => (Status::Up, now),
            };
            (process.wanted.status, process.since) = (status, since);
        } else {
            process.wanted.weight = rng.u16(50..200);
        }
        if let Phase::Standing(_, pace) = &mut process.phase {
            pace.changed(clock.instant(now));
            if process.waiting.is_none() {
                return vec![Wish::Wake(clock.since(pace.next()))];
            }
        }
        Vec::new()
    }

    /// It is told to stop: it drains, waits for the barrier, and ends.
    pub fn drain(&mut self, now: Duration) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        let Phase::Standing(granted, _) = process.phase else { return Vec::new() };
        process.phase = Phase::Draining { granted, told: None, until: now + BARRIER_PATIENCE };
        vec![Wish::Send(draining(&self.service, &self.id, granted.generation), CALL_DEADLINE)]
    }

    fn leave(&mut self) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        let generation = match process.phase {
            Phase::Draining { granted, .. } | Phase::Standing(granted, _) => granted.generation,
            Phase::Registering(_) | Phase::Leaving => return Vec::new(),
        };
        process.phase = Phase::Leaving;
        self.serves = false;
        let (service, id) = (self.service.to_string(), self.id.to_string());
        vec![Wish::Send(Call::Delete { service, id, generation }, CALL_DEADLINE)]
    }

    /// A request was sent under this number.
    pub fn sent(&mut self, number: u64) {
        if let Some(process) = &mut self.process {
            process.waiting = Some(number);
        }
    }

    pub fn is_waiting_for(&self, number: u64) -> bool {
        self.process.as_ref().is_some_and(|process| process.waiting == Some(number))
    }

    /// Its timer rang.
    pub fn wake(&mut self, clock: Clock, now: Duration) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        match &mut process.phase {
            Phase::Registering(_) => self.put(),
            Phase::Standing(granted, pace) => {
                if clock.since(pace.next()) > now {
                    return vec![Wish::Wake(clock.since(pace.next()))];
                }
                process.updating = pace.due(clock.instant(now)) == Due::Update;
                if process.updating {
                    return self.put();
                }
                let (service, id) = (self.service.to_string(), self.id.to_string());
                let generation = granted.generation;
                vec![Wish::Send(Call::Beat { service, id, generation }, CALL_DEADLINE)]
            }
            Phase::Draining { told: Some(said), until, .. } if now < *until => {
                vec![Wish::Send(Call::Barrier(*said), CALL_DEADLINE)]
            }
            Phase::Draining { .. } => self.leave(),
            Phase::Leaving => Vec::new(),
        }
    }

    /// An answer came, or (`None`) none in time.
    pub fn hear(
        &mut self,
        reply: Option<Reply>,
        clock: Clock,
        now: Duration,
        rng: &mut fastrand::Rng,
    ) -> Vec<Wish> {
        let Some(process) = &mut self.process else { return Vec::new() };
        process.waiting = None;
        let at = clock.instant(now);
        let answer = match &reply {
            Some(Reply::Written(status, body)) => Some(Answer {
                status: http::StatusCode::from_u16(*status).unwrap(),
                headers: http::HeaderMap::new(),
                body: body.clone(),
            }),
            _ => None,
        };
        match &mut process.phase {
            Phase::Registering(tries) => match answer.as_ref().map(judge::put) {
                Some(Verdict::Granted(granted)) => {
                    let pace = PaceState::new(&granted, None, at, rng.f64());
                    process.phase = Phase::Standing(granted, pace);
                    vec![Wish::Wake(clock.since(pace.next()))]
                }
                verdict => {
                    let refused = matches!(verdict, Some(Verdict::Refused(_)));
                    vec![Wish::Wake(now + tries.after(refused, rng.f64()))]
                }
            },
            Phase::Standing(_, pace) if process.updating => {
                process.updating = false;
                match answer.as_ref().map(judge::put) {
                    Some(Verdict::Granted(granted)) => {
                        let pace = PaceState::new(&granted, None, at, rng.f64());
                        process.phase = Phase::Standing(granted, pace);
                        vec![Wish::Wake(clock.since(pace.next()))]
                    }
                    verdict => {
                        pace.update_failed(matches!(verdict, Some(Verdict::Refused(_))), at, rng.f64());
                        vec![Wish::Wake(clock.since(pace.next()))]
                    }
                }
            }
            Phase::Standing(_, pace) => {
                let beat = answer.as_ref().map_or_else(|| Beat::Failed(String::new()), judge::beat);
                match pace.beaten(&beat, at, rng.f64()) {
                    None => vec![Wish::Wake(clock.since(pace.next()))],
                    Some(pause) => {
                        process.phase = Phase::Registering(TriesState::new());
                        vec![Wish::Wake(now + pause)]
                    }
                }
            }
            &mut Phase::Draining { granted, ref mut told, until } => match (reply, *told) {
                (Some(Reply::Written(200, body)), None) => {
                    *told = serde_json::from_slice(&body).ok();
                    vec![Wish::Wake(now)]
                }
                // What was said may not be in the history that has begun.
                (Some(Reply::Written(410, _)), Some(_)) if now < until => {
                    *told = None;
                    let generation = granted.generation;
                    vec![Wish::Send(draining(&self.service, &self.id, generation), CALL_DEADLINE)]
                }
                (Some(Reply::Barrier(judged, epoch, gateways)), Some(_)) if judged.missing.is_empty() => {
                    let generation = granted.generation;
                    let mut wishes = vec![Wish::Promise { generation, epoch, gateways }];
                    wishes.extend(self.leave());
                    wishes
                }
                (_, Some(_)) => vec![Wish::Wake(now + BARRIER_PAUSE)],
                // Not told: it leaves without a promise.
                (_, None) => self.leave(),
            },
            Phase::Leaving => {
                self.crash();
                vec![Wish::Ended]
            }
        }
    }
}

fn draining(service: &ServiceName, id: &InstanceId, generation: u64) -> Call {
    let patch = Patch { status: Some(Status::Draining), deadline_s: Some(60), ..Patch::default() };
    Call::Patch { service: service.to_string(), id: id.to_string(), generation, patch }
}
