//! All parts of the demo: how each starts, stops and fails.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::child::Child;
use super::client::get;
use super::places::{Places, Programs, loopback};
use super::report::Report;
use super::service::Service;
use super::wait::{Missing, until};

/// The service with two instances.
pub(super) const PAIR: &str = "osint_service";

/// Service and instance, in the order of the numbers that a person types.
const CAST: [(&str, &str); 4] = [
    (PAIR, "osint-1"),
    (PAIR, "osint-2"),
    ("maximus_core_service", "maximus-core-1"),
    ("ip_intel_service", "ip-intel-1"),
];

/// For a part to come up, on a machine that compiles something else at the same time.
pub(super) const START_TIME: Duration = Duration::from_secs(15);

/// For a step that waits for that: a little longer, so that the wait can say what is missing.
const START_STEP: Duration = Duration::from_secs(17);

/// A sidecar's goodbye takes up to 9 s if the registry does not answer.
const SIDECAR_STOP: Duration = Duration::from_secs(11);
const SERVICE_STOP: Duration = Duration::from_secs(4);
const GATEWAY_STOP: Duration = Duration::from_secs(8);
const REGISTRY_STOP: Duration = Duration::from_secs(4);

/// A beat every two seconds, so that what happens to a registration can be watched.
const HEARTBEAT_S: &str = "2";
const INITIAL_WAIT_S: &str = "10";

/// How the gateway's line about the state that it starts from begins.
const FROM_DISK: &str = "serving the last known good";

/// Everything that runs. Dropping it kills what is left.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) programs: Programs,
    pub(super) places: Places,
    pub(super) instances: Vec<Instance>,
    logs: PathBuf,
    registry: Option<Child>,
    gateway: Option<Child>,
}

/// One copy of a service, with its sidecar.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) service: &'static str,
    pub(super) id: &'static str,
    pub(super) address: SocketAddr,
    server: Option<Service>,
    sidecar: Option<Child>,
}

impl Instance {
    /// What runs of it.
    pub(super) fn state(&self) -> &'static str {
        match (&self.server, &self.sidecar) {
            (Some(_), Some(_)) => "running, with its sidecar",
            (Some(_), None) => "running, without a sidecar",
            (None, Some(_)) => "gone, its sidecar is still there",
            (None, None) => "stopped",
        }
    }
}

impl Parts {
    /// Nothing runs yet.
    pub(super) fn new(programs: Programs, logs: &Path, places: Places) -> Self {
        let instance =
            |(service, id)| Instance { service, id, address: loopback(0), server: None, sidecar: None };
        Self {
            programs,
            places,
            instances: CAST.map(instance).into(),
            logs: logs.to_owned(),
            registry: None,
            gateway: None,
        }
    }

    /// Where the logs are.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Starts all in the order in which they need each other, with a line each.
    pub(super) async fn start_all(&mut self, report: &mut Report) -> Result<(), String> {
        report.step("registry", START_STEP, self.start_registry()).await?;
        report.step("services", START_STEP, self.start_services()).await?;
        report.step("sidecars", START_STEP, self.start_sidecars()).await?;
        report.step("gateway", START_STEP, self.start_gateway()).await
    }

    /// Starts the registry, which knows nothing then.
    pub(super) async fn start_registry(&mut self) -> Result<String, String> {
        if self.registry.is_some() {
            return Err("it is running already".into());
        }
        let arguments = ["run", "--listen", &self.places.registry.to_string()].map(str::to_owned);
        let mut child = Child::start(&self.programs.registry, "registry", &self.logs, &arguments, &[])?;
        self.places.registry = child.logged_address("the registry listens ", START_TIME).await?;
        self.registry = Some(child);
        Ok(format!("listens on {}", self.places.registry))
    }

    /// Kills the registry: no goodbye, nothing saved.
    pub(super) async fn kill_registry(&mut self) -> Result<(), String> {
        match self.registry.take() {
            Some(child) => child.kill().await,
            None => Err("it is not running".into()),
        }
    }

    async fn start_services(&mut self) -> Result<String, String> {
        for instance in &mut self.instances {
            instance.serve().await?;
            let reply = get(instance.address, "/health").await?;
            if reply.status != 200 {
                return Err(format!("{} is not healthy: {}", instance.id, reply.in_short()));
            }
        }
        let ids: Vec<_> = self.instances.iter().map(|instance| instance.id).collect();
        Ok(format!("healthy: {}", ids.join(", ")))
    }

    async fn start_sidecars(&mut self) -> Result<String, String> {
        for instance in &mut self.instances {
            instance.accompany(&self.programs.sidecar, &self.logs, self.places.registry)?;
        }
        self.registered().await
    }

    /// Waits until the registry names every instance.
    pub(super) async fn registered(&mut self) -> Result<String, String> {
        let registry = self.places.registry;
        until(START_TIME, async || {
            if let Some(ended) = self.ended_by_themselves().pop() {
                return Err(Missing::ForEver(ended));
            }
            for service in services() {
                let wanted = CAST.iter().filter(|(of, _)| *of == service).count();
                let reply = get(registry, &format!("/services/{service}")).await?;
                let count = reply.json().get("instances").and_then(Value::as_array).map_or(0, Vec::len);
                if reply.status != 200 || count != wanted {
                    let status = reply.status;
                    return Err(Missing::Yet(format!(
                        "the registry names {count} of {wanted} of {service} ({status})"
                    )));
                }
            }
            Ok(format!("all {} instances are in the registry", CAST.len()))
        })
        .await
    }

    async fn start_gateway(&mut self) -> Result<String, String> {
        let Places { gateway, admin, registry } = self.places;
        let arguments = [
            "run".to_owned(),
            format!("--listen={gateway}"),
            format!("--admin={admin}"),
            format!("--registry=http://{registry}"),
            // Among the logs, so that it goes with them.
            format!("--state-dir={}", self.logs.join("gateway-state").display()),
        ];
        let mut child = Child::start(&self.programs.gateway, "gateway", &self.logs, &arguments, &[])?;
        let admin = child.logged_address("admin listening ", START_TIME).await?;
        let gateway = child.logged_address("listening listener=", START_TIME).await?;
        (self.places.admin, self.places.gateway) = (admin, gateway);
        until(START_TIME, async || {
            if let Some(ended) = child.ended() {
                return Err(Missing::ForEver(ended));
            }
            match get(admin, "/ready").await? {
                reply if reply.status == 200 => Ok(()),
                reply => Err(Missing::Yet(reply.in_short())),
            }
        })
        .await?;
        self.gateway = Some(child);
        Ok(format!("ready, listens on {gateway}, admin pages on {admin}"))
    }

    /// Stops the gateway in order and starts it again at its old addresses, whether there is a registry or not.
    pub(super) async fn restart_gateway(&mut self) -> Result<String, String> {
        let gateway = self.gateway.take().ok_or("it is not running")?;
        gateway.stop(GATEWAY_STOP).await?;
        let begun = Instant::now();
        self.start_gateway().await?;
        let took = begun.elapsed().as_millis();
        let told = self.gateway.as_ref().and_then(|child| child.logged(FROM_DISK));
        // Without the file's place, which follows.
        let told = told.as_deref().and_then(|line| line.split(" file=").next());
        let told = told.unwrap_or("nothing was on its disk");
        Ok(format!("ready {took} ms after its start; {told}"))
    }

    /// Stops an instance in order: its sidecar takes the registration back, then the service finishes what it has begun.
    pub(super) async fn stop_instance(&mut self, number: usize) -> Result<String, String> {
        let instance = self.instance(number)?;
        let (sidecar, server) = (instance.sidecar.take(), instance.server.take());
        let id = instance.id;
        if sidecar.is_none() && server.is_none() {
            return Err(format!("{id} is stopped already"));
        }
        let mut told = Vec::new();
        if let Some(sidecar) = sidecar {
            sidecar.stop(SIDECAR_STOP).await?;
            told.push("sidecar has said goodbye to the registry");
        }
        if let Some(server) = server {
            server.finish().await?;
            told.push("service has stopped");
        }
        Ok(format!("{id}: {}", told.join(", ")))
    }

    /// Takes the service away at once, as a crash does; its sidecar stays and does not deregister it.
    pub(super) async fn kill_instance(&mut self, number: usize) -> Result<String, String> {
        let instance = self.instance(number)?;
        let server = instance.server.take().ok_or_else(|| format!("{} does not run", instance.id))?;
        server.vanish().await?;
        Ok(format!("{}: gone without a word, every connection broken off", instance.id))
    }

    /// Starts what is missing of an instance, at its old address.
    pub(super) async fn start_instance(&mut self, number: usize) -> Result<String, String> {
        let registry = self.places.registry;
        let (program, logs) = (self.programs.sidecar.clone(), self.logs.clone());
        let instance = self.instance(number)?;
        if instance.server.is_some() && instance.sidecar.is_some() {
            return Err(format!("{} is running already", instance.id));
        }
        instance.serve().await?;
        instance.accompany(&program, &logs, registry)?;
        Ok(format!("{}: {}", instance.id, instance.state()))
    }

    fn instance(&mut self, number: usize) -> Result<&mut Instance, String> {
        let last = self.instances.len();
        let found = number.checked_sub(1).and_then(|index| self.instances.get_mut(index));
        found.ok_or_else(|| format!("there is no instance {number}: they have the numbers 1 to {last}"))
    }

    /// Programs that ended although nobody told them to, once each.
    pub(super) fn ended_by_themselves(&mut self) -> Vec<String> {
        let sidecars = self.instances.iter_mut().map(|instance| &mut instance.sidecar);
        let all = [&mut self.registry, &mut self.gateway].into_iter().chain(sidecars);
        all.filter_map(|child| {
            let ended = child.as_mut()?.ended()?;
            *child = None;
            Some(ended)
        })
        .collect()
    }

    /// Takes down what runs, in the order in which nobody is missed, with a line each; goes on if one fails.
    pub(super) async fn take_down(&mut self, report: &mut Report) {
        // What fails is in the report.
        let more = Duration::from_secs(1);
        let _ = report.step("sidecars down", SIDECAR_STOP + more, self.stop_sidecars()).await;
        let _ = report.step("services down", SERVICE_STOP + more, self.stop_services()).await;
        let gateway = self.gateway.take();
        let _ =
            report.step("gateway down", GATEWAY_STOP + more, stop(gateway, GATEWAY_STOP, "drained")).await;
        let registry = self.registry.take();
        let _ = report
            .step("registry down", REGISTRY_STOP + more, stop(registry, REGISTRY_STOP, "stopped"))
            .await;
    }

    async fn stop_sidecars(&mut self) -> Result<String, String> {
        let sidecars: Vec<_> = self.instances.iter_mut().filter_map(|i| i.sidecar.take()).collect();
        let count = sidecars.len();
        let stopped = join_all(sidecars.into_iter().map(|sidecar| sidecar.stop(SIDECAR_STOP))).await;
        stopped.into_iter().collect::<Result<Vec<()>, _>>()?;
        if self.registry.is_none() {
            return Ok(format!("{count} stopped; no registry is left to say goodbye to"));
        }
        let listed = get(self.places.registry, "/services").await?.json();
        let listed: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match services().find(|service| listed.contains(service)) {
            Some(left) => Err(format!("the registry still names {left}")),
            None => Ok(format!("{count} stopped, the registry names none of their services any more")),
        }
    }

    async fn stop_services(&mut self) -> Result<String, String> {
        let servers: Vec<_> = self.instances.iter_mut().filter_map(|i| i.server.take()).collect();
        let count = servers.len();
        let stopped = join_all(servers.into_iter().map(Service::finish)).await;
        stopped.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(format!("{count} stopped"))
    }
}

impl Instance {
    /// Starts the service if it does not run.
    async fn serve(&mut self) -> Result<(), String> {
        if self.server.is_none() {
            let (server, address) = Service::start(self.service, self.id, self.address).await?;
            (self.server, self.address) = (Some(server), address);
        }
        Ok(())
    }

    /// Starts the sidecar if it does not run.
    fn accompany(&mut self, program: &Path, logs: &Path, registry: SocketAddr) -> Result<(), String> {
        if self.sidecar.is_none() {
            let environment = [
                ("SERVICE_NAME", self.service.to_owned()),
                ("SERVICE_HOST", self.address.ip().to_string()),
                ("SERVICE_PORT", self.address.port().to_string()),
                ("INSTANCE_ID", self.id.to_owned()),
                ("REGISTRY_URL", format!("http://{registry}")),
                ("HEARTBEAT_INTERVAL", HEARTBEAT_S.to_owned()),
                ("INITIAL_WAIT_TIMEOUT", INITIAL_WAIT_S.to_owned()),
            ];
            let name = format!("sidecar-{}", self.id);
            self.sidecar = Some(Child::start(program, &name, logs, &[], &environment)?);
        }
        Ok(())
    }
}

async fn stop(child: Option<Child>, limit: Duration, how: &str) -> Result<String, String> {
    match child {
        Some(child) => child.stop(limit).await.map(|()| how.to_owned()),
        None => Ok("it was not running".into()),
    }
}

/// The names of the demo's services.
pub(super) fn services() -> impl Iterator<Item = &'static str> {
    // An instance of the pair after the first adds no name.
    CAST.into_iter().map(|(service, _)| service).skip(1)
}
