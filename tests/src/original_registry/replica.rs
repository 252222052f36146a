//! One Python process of the original: its cache, its breaker, and the calls as it answers them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::redis::{Record, Redis, TTL};
use super::{Quirk, RedisState};

/// An answer, and how long the process sits on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body; JSON but for nginx's own.
    pub body: String,
    /// The time until it is sent.
    pub after: Duration,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string(), after: Duration::ZERO }
    }

    fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }
}

/// What all replicas see when a call comes.
pub(super) struct Shared<'a> {
    pub(super) redis: &'a mut Redis,
    pub(super) redis_state: RedisState,
    pub(super) quirks: &'a BTreeSet<Quirk>,
    pub(super) token: &'a str,
    pub(super) now: Duration,
}

/// A call as it came.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// GET, POST, DELETE.
    pub method: &'a str,
    /// The path, percent-decoded.
    pub path: &'a str,
    /// `X-Registry-Token`.
    pub token: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// The state of one process.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// What it has read or written, for ever.
    cache: BTreeMap<String, Record>,
    /// Q13: never closes by itself.
    pub(super) breaker_open: bool,
}

impl Replica {
    pub(super) fn call(&mut self, shared: &mut Shared<'_>, call: Call<'_>) -> Reply {
        let parts: Vec<_> = call.path.trim_start_matches('/').splitn(2, '/').collect();
        match (call.method, parts.as_slice()) {
            ("POST", ["register"]) => self.register(shared, call),
            ("POST", ["heartbeat"]) => self.heartbeat(shared, call),
            ("DELETE", ["deregister", name]) => self.deregister(shared, call, name),
            ("GET", ["services"]) => self.list(shared),
            ("GET", ["services", name]) => self.get(shared, name),
            ("GET", ["health"]) => self.health(shared),
            ("GET", ["metrics"]) => {
                Reply { status: 200, body: "# no metrics\n".into(), after: Duration::ZERO }
            }
            (
                _,
                ["register" | "heartbeat" | "services" | "health" | "metrics"]
                | ["services" | "deregister", _],
            ) => Reply::detail(405, "Method Not Allowed"),
            _ => Reply::detail(404, "Not Found"),
        }
    }

    /// The body is judged before the token is.
    fn register(&mut self, shared: &mut Shared<'_>, call: Call<'_>) -> Reply {
        let body = match object(call.body, &["service_name", "endpoint"]) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (name, endpoint) = (text("service_name"), text("endpoint"));
        if !shared.quirks.contains(&Quirk::AnyString)
            && (name.is_empty() || name.contains('/') || !endpoint.starts_with("http"))
        {
            return unprocessable("value_error", "endpoint", "not a URL");
        }
        if let Some(reply) = refused(shared, call, "Registration") {
            return reply;
        }
        let metadata = body["metadata"].as_object().cloned().unwrap_or_default();
        let record = Record {
            endpoint: Some(endpoint),
            health_endpoint: body["health_endpoint"].as_str().unwrap_or("/health").to_owned(),
            metadata: metadata
                .iter()
                .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
                .collect(),
            registered_at: shared.now,
            last_heartbeat: shared.now,
            expires: shared.now + TTL,
        };
        if !self.breaker_open {
            if let Some(reply) = redis_away(shared, "Registration") {
                return reply;
            }
            shared.redis.set(&name, record.clone());
        }
        if shared.quirks.contains(&Quirk::RepairedButFrozen) {
            self.cache.entry(name.clone()).or_insert(record);
        } else {
            self.cache.insert(name.clone(), record);
        }
        let message = format!("Service '{name}' registered successfully");
        Reply::json(201, &json!({ "message": message, "service_name": name }))
    }

    fn heartbeat(&mut self, shared: &mut Shared<'_>, call: Call<'_>) -> Reply {
        let body = match object(call.body, &["service_name"]) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let name = body["service_name"].as_str().unwrap_or_default().to_owned();
        if let Some(reply) = refused(shared, call, "Heartbeat") {
            return reply;
        }
        let done = Reply::json(200, &json!({ "message": "Heartbeat received", "service_name": name }));
        // With its breaker open it says yes to any name (Q13).
        if self.breaker_open {
            return done;
        }
        if let Some(reply) = redis_away(shared, "Heartbeat") {
            return reply;
        }
        let known = shared.redis.get(&name, shared.now).is_some();
        if !known && !shared.quirks.contains(&Quirk::HeartbeatRace) {
            let detail = format!("Service '{name}' not registered");
            return if shared.quirks.contains(&Quirk::UnknownHeartbeatIs500) {
                Reply::detail(500, &format!("Heartbeat failed: {detail}"))
            } else {
                Reply::detail(404, &detail)
            };
        }
        shared.redis.beat(&name, shared.now);
        done
    }

    fn deregister(&mut self, shared: &mut Shared<'_>, call: Call<'_>, name: &str) -> Reply {
        if let Some(reply) = refused(shared, call, "Deregistration") {
            return reply;
        }
        if !self.breaker_open {
            if let Some(reply) = redis_away(shared, "Deregistration") {
                return reply;
            }
            shared.redis.delete(name);
        }
        self.cache.remove(name);
        Reply::json(
            200,
            &json!({ "message": format!("Service '{name}' deregistered"), "service_name": name }),
        )
    }

    fn list(&self, shared: &Shared<'_>) -> Reply {
        if self.breaker_open {
            return Reply::json(200, &json!(self.cache.keys().collect::<Vec<_>>()));
        }
        if let Some(reply) = redis_away(shared, "Listing") {
            return reply;
        }
        let mut names = shared.redis.index();
        if !shared.quirks.contains(&Quirk::ListsExpired) {
            names.retain(|name| shared.redis.get(name, shared.now).is_some());
        }
        Reply::json(200, &json!(names))
    }

    fn get(&mut self, shared: &mut Shared<'_>, name: &str) -> Reply {
        let dead = shared.redis.get(name, shared.now).is_none();
        let forgets = dead && !self.breaker_open && !shared.quirks.contains(&Quirk::KeepsDead);
        if let Some(record) = self.cache.get(name).filter(|_| !forgets) {
            if shared.quirks.contains(&Quirk::RepairedButFrozen) {
                return view(name, record, TTL.as_secs());
            }
            if shared.quirks.contains(&Quirk::CacheAnswers500) {
                let detail =
                    "Failed to get service: ServiceInfo() argument after ** must be a mapping, not tuple";
                return Reply::detail(500, detail);
            }
            if self.breaker_open {
                return view(name, record, TTL.as_secs());
            }
        }
        if self.breaker_open {
            return Reply::detail(404, &format!("Service '{name}' not found"));
        }
        if let Some(reply) = redis_away(shared, "Lookup") {
            return reply;
        }
        match shared.redis.get(name, shared.now) {
            None => Reply::detail(404, &format!("Service '{name}' not found")),
            // The text of a KeyError is the key.
            Some(record) if record.endpoint.is_none() => {
                Reply::detail(500, "Failed to get service: 'endpoint'")
            }
            Some(record) => {
                self.cache.insert(name.to_owned(), record.clone());
                view(name, record, record.expires.saturating_sub(shared.now).as_secs())
            }
        }
    }

    fn health(&self, shared: &Shared<'_>) -> Reply {
        let healthy = shared.redis_state == RedisState::Up && !self.breaker_open;
        let state = json!({ "status": if healthy { "healthy" } else { "degraded" }, "redis": healthy });
        if healthy { Reply::json(200, &state) } else { Reply::json(503, &json!({ "detail": state })) }
    }

    /// The sweep, every 30 s: what it takes off the index it also forgets. Other replicas do not (Q6).
    pub(super) fn sweep(&mut self, redis: &mut Redis, now: Duration) {
        for name in redis.sweep(now) {
            self.cache.remove(&name);
        }
    }
}

fn view(name: &str, record: &Record, ttl_remaining: u64) -> Reply {
    Reply::json(
        200,
        &json!({
            "service_name": name,
            "endpoint": record.endpoint,
            "health_endpoint": record.health_endpoint,
            "metadata": record.metadata,
            "registered_at": record.registered_at.as_secs_f64(),
            "last_heartbeat": record.last_heartbeat.as_secs_f64(),
            "ttl_remaining": ttl_remaining,
        }),
    )
}

/// The body as an object in which `required` are strings, or the 422.
fn object(body: &[u8], required: &[&str]) -> Result<Value, Reply> {
    let Ok(body @ Value::Object(_)) = serde_json::from_slice(body) else {
        return Err(unprocessable("json_invalid", "body", "JSON decode error"));
    };
    for name in required {
        match &body[*name] {
            Value::String(_) => {}
            Value::Null => return Err(unprocessable("missing", name, "Field required")),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(unprocessable("string_type", name, "Input should be a valid string"));
            }
        }
    }
    Ok(body)
}

fn unprocessable(kind: &str, field: &str, message: &str) -> Reply {
    Reply::json(422, &json!({ "detail": [{ "type": kind, "loc": ["body", field], "msg": message }] }))
}

/// The answer to a bad token, or `None` for a good one. An empty token turns the check off.
fn refused(shared: &Shared<'_>, call: Call<'_>, what: &str) -> Option<Reply> {
    if shared.token.is_empty() || call.token == Some(shared.token) {
        return None;
    }
    Some(if shared.quirks.contains(&Quirk::BadTokenIs500) {
        Reply::detail(500, &format!("{what} failed: 401: Invalid or missing registry token"))
    } else {
        Reply::detail(401, "Invalid or missing registry token")
    })
}

/// The answer while Redis is away (Q16), or `None` while it is there.
fn redis_away(shared: &Shared<'_>, what: &str) -> Option<Reply> {
    let (after_s, text) = match shared.redis_state {
        RedisState::Up => return None,
        RedisState::Refusing => (3, "Error 111 connecting to redis:6379. Connection refused."),
        RedisState::Hanging => (18, ""),
    };
    let reply = Reply::detail(500, &format!("{what} failed: {text}"));
    Some(Reply { after: Duration::from_secs(after_s), ..reply })
}
