//! Limits as operators see them: those of a listener with everything that they come from put in, those of a route as it says them.

use serde_json::{Value, json};
use vertice_config::gateway::{
    Bound, ClientLimits, LimitsConfig, ListenerConfig, OwnTimeouts, TimeoutsConfig,
};

use super::config::time;
use crate::route::Route;

/// `[limits]`
pub fn general(limits: &LimitsConfig) -> Value {
    let LimitsConfig { connections, drain_timeout, clients: of_clients } = limits;
    let mut shown = clients(of_clients);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("connections".to_owned(), json!(connections));
        shown.insert("drain_timeout".to_owned(), time(*drain_timeout).into());
    }
    shown
}

/// What clients may do.
pub fn clients(limits: &ClientLimits) -> Value {
    let ClientLimits {
        header_bytes,
        header_count,
        target_bytes,
        connections_per_address,
        connection_requests,
        connection_age,
        streams,
        resets,
        body_bytes,
        min_body_rate,
        min_response_rate,
        head_timeout,
        keep_alive,
    } = limits;
    json!({
        "header_bytes": header_bytes,
        "header_count": header_count,
        "target_bytes": target_bytes,
        "connections_per_address": connections_per_address,
        "connection_requests": connection_requests,
        "connection_age": connection_age.map(time),
        "streams": streams,
        "resets": resets,
        "body_bytes": body_bytes,
        "min_body_rate": min_body_rate,
        "min_response_rate": min_response_rate,
        "head_timeout": time(*head_timeout),
        "keep_alive": time(*keep_alive),
    })
}

/// Time limits of requests.
pub fn timeouts(timeouts: &TimeoutsConfig) -> Value {
    let TimeoutsConfig { connect, first_byte, idle, stream_idle, total } = timeouts;
    json!({
        "connect": time(*connect),
        "first_byte": time(*first_byte),
        "idle": time(*idle),
        "stream_idle": time(*stream_idle),
        "total": total.map(time),
    })
}

/// What a route says of time limits; null: as at the listener.
pub fn own_timeouts(timeouts: &OwnTimeouts) -> Value {
    let OwnTimeouts { connect, first_byte, idle, stream_idle, total } = timeouts;
    json!({
        "connect": connect.map(time),
        "first_byte": first_byte.map(time),
        "idle": idle.map(time),
        "stream_idle": stream_idle.map(time),
        "total": total.map(|total| total.most().map_or_else(|| "none".to_owned(), time)),
    })
}

/// What a route says of the bytes of bodies; null: as at the listener.
pub fn bytes(limit: Option<Bound<u64>>) -> Value {
    match limit {
        None => Value::Null,
        Some(Bound::Unlimited) => "none".into(),
        Some(Bound::At(bytes)) => bytes.into(),
    }
}

/// What holds for requests of `route` at `listener`.
pub fn effective(route: &Route, listener: &ListenerConfig) -> Value {
    let rules = &listener.rules;
    json!({
        "listener": listener.name,
        "body_bytes": route.body_bytes.map_or(rules.limits.body_bytes, Bound::most),
        "timeouts": timeouts(&route.timeouts.over(&rules.timeouts)),
    })
}
