//! A fake of the original registry as it runs behind its nginx, bugs and all, for what must live with it.
//!
//! Which bugs, each measured on the original: see [`Quirk`], [`RedisState`] and [`Fleet::open_breakers`].
//! [`fleet`] is the pure part: replicas, the Redis they share, and nginx's memory of who failed; `now` is an argument.
//! [`server`] puts it on loopback.

pub mod redis;
pub mod replica;
pub mod fleet;
pub mod server;

pub use fleet::{Call, Fleet, Reply};
pub use server::OriginalRegistry;

/// What the original does that it should not. Each can be switched on and off while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// Q1: a name in the replica's cache answers 500.
    CacheAnswers500,
    /// Q2: nginx takes a replica that answered 500 for failed, for ten seconds; all failed: 502 for everything.
    NginxMarksFailed,
    /// Q3: a bad token is 500 with "401" in its text. Off: 401.
    BadTokenIs500,
    /// Q4: a heartbeat of an unknown name is 500. Off: 404.
    UnknownHeartbeatIs500,
    /// Q5: a name stays listed after its record has expired, until the next sweep.
    ListsExpired,
    /// Q6: what a replica has cached it keeps after the record is gone.
    KeepsDead,
    /// Q7 and Q8, the repaired variant: a cached answer is 200, frozen, with a ttl of 60, and a registration does not
    /// replace it.
    RepairedButFrozen,
    /// Q10: any string is a name and any string an endpoint. Off: 422.
    AnyString,
    /// Q11: a heartbeat that comes just after its record expired leaves a record without an endpoint.
    HeartbeatRace,
}

/// What the replicas' Redis does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisState {
    /// Answers.
    #[default]
    Up,
    /// Q16: refuses connections: 3 s per call, then 500.
    Refusing,
    /// Q16: swallows them: 18 s, then 500 with an empty text.
    Hanging,
}
