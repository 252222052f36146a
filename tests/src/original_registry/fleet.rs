//! The replicas behind nginx: round robin, and its memory of who failed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::redis::Redis;
pub use super::replica::{Call, Reply};
use super::replica::{Replica, Shared};
use super::{Quirk, RedisState};

/// Between two sweeps of a replica.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// nginx's `fail_timeout`, with its `max_fails` of 1.
const FAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// All of the original registry. Pure: `now` counts from the start and never goes back.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What is switched on.
    pub quirks: BTreeSet<Quirk>,
    /// What Redis does.
    pub redis_state: RedisState,
    redis: Redis,
    replicas: Vec<Replica>,
    failed_until: Vec<Duration>,
    token: String,
    next: usize,
    next_sweep: Duration,
}

impl Fleet {
    /// `replicas` processes with `token`, no quirk switched on.
    pub fn new(replicas: usize, token: &str) -> Self {
        Self {
            quirks: BTreeSet::new(),
            redis_state: RedisState::Up,
            redis: Redis::default(),
            replicas: vec![Replica::default(); replicas],
            failed_until: vec![Duration::ZERO; replicas],
            token: token.to_owned(),
            next: 0,
            next_sweep: SWEEP_EVERY,
        }
    }

    /// With `quirks` switched on.
    #[must_use]
    pub fn with(mut self, quirks: impl IntoIterator<Item = Quirk>) -> Self {
        self.quirks.extend(quirks);
        self
    }

    /// Q13: the breaker of every replica opens, and stays so.
    pub fn open_breakers(&mut self) {
        for replica in &mut self.replicas {
            replica.breaker_open = true;
        }
    }

    /// Restarts every replica: caches and breakers are as new.
    pub fn restart(&mut self) {
        self.replicas.fill(Replica::default());
        self.failed_until.fill(Duration::ZERO);
    }

    /// FLUSHALL, as in Q4.
    pub fn flush_redis(&mut self) {
        self.redis.flush();
    }

    /// One call through nginx.
    pub fn call(&mut self, now: Duration, call: Call<'_>) -> Reply {
        self.sweep(now);
        let marks = self.quirks.contains(&Quirk::NginxMarksFailed);
        let count = self.replicas.len();
        let candidates = (0..count).map(|offset| (self.next + offset) % count);
        let Some(chosen) = candidates.into_iter().find(|&index| !marks || self.failed_until[index] <= now)
        else {
            let body = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n".into();
            return Reply { status: 502, body, after: Duration::ZERO };
        };
        self.next = (chosen + 1) % count;
        let mut shared = Shared {
            redis: &mut self.redis,
            redis_state: self.redis_state,
            quirks: &self.quirks,
            token: &self.token,
            now,
        };
        let reply = self.replicas[chosen].call(&mut shared, call);
        if reply.status == 500 {
            self.failed_until[chosen] = now + FAIL_TIMEOUT;
        }
        reply
    }

    /// Whichever replica sweeps first cleans the index; nothing is left for the others to see.
    fn sweep(&mut self, now: Duration) {
        while self.next_sweep <= now {
            let at = self.next_sweep;
            self.next_sweep += SWEEP_EVERY;
            if self.redis_state == RedisState::Up {
                self.replicas[0].sweep(&mut self.redis, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TOKEN: &str = "t";
    const START: Duration = Duration::ZERO;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fleet(replicas: usize, quirks: &[Quirk]) -> Fleet {
        Fleet::new(replicas, TOKEN).with(quirks.iter().copied())
    }

    impl Fleet {
        fn get(&mut self, now: Duration, path: &str) -> Reply {
            self.call(now, Call { method: "GET", path, token: None, body: b"" })
        }

        fn post(&mut self, now: Duration, path: &str, body: &Value) -> Reply {
            let body = body.to_string();
            self.call(now, Call { method: "POST", path, token: Some(TOKEN), body: body.as_bytes() })
        }

        fn register(&mut self, now: Duration, name: &str, endpoint: &str) -> Reply {
            self.post(now, "/register", &json!({ "service_name": name, "endpoint": endpoint }))
        }

        fn beat(&mut self, now: Duration, name: &str) -> Reply {
            self.post(now, "/heartbeat", &json!({ "service_name": name }))
        }

        fn endpoint(&mut self, now: Duration, name: &str) -> Value {
            body(&self.get(now, &format!("/services/{name}")))["endpoint"].clone()
        }
    }

    fn body(reply: &Reply) -> Value {
        serde_json::from_str(&reply.body).unwrap()
    }

    #[test]
    fn without_quirks_the_five_calls_do_what_they_should() {
        let mut fleet = fleet(5, &[]);
        assert_eq!(fleet.register(START, "a_service", "http://a:1").status, 201);
        let reply = fleet.get(secs(1), "/services/a_service");
        assert_eq!(reply.status, 200);
        let expected = json!({"service_name": "a_service", "endpoint": "http://a:1", "health_endpoint": "/health",
            "metadata": {}, "registered_at": 0.0, "last_heartbeat": 0.0, "ttl_remaining": 59});
        assert_eq!(body(&reply), expected);
        assert_eq!(fleet.beat(secs(50), "a_service").status, 200);
        assert_eq!(fleet.get(secs(100), "/services/a_service").status, 200);
        assert_eq!(body(&fleet.get(secs(100), "/services")), json!(["a_service"]));
        let delete = Call { method: "DELETE", path: "/deregister/a_service", token: Some(TOKEN), body: b"" };
        assert_eq!(fleet.call(secs(100), delete).status, 200);
        assert_eq!(fleet.call(secs(100), delete).status, 200, "also when absent");
        let gone = fleet.get(secs(100), "/services/a_service");
        assert_eq!((gone.status, body(&gone)), (404, json!({"detail": "Service 'a_service' not found"})));
        assert_eq!(fleet.get(START, "/v1/snapshot").status, 404);
        assert_eq!(fleet.get(START, "/register").status, 405);
    }

    #[test]
    fn a_bad_body_is_422_before_the_token_is_looked_at() {
        let mut fleet = fleet(1, &[]);
        for bad in [&b"{"[..], b"{}", br#"{"service_name":1,"endpoint":"http://a"}"#] {
            let reply = fleet.call(START, Call { method: "POST", path: "/register", token: None, body: bad });
            assert_eq!(reply.status, 422);
            assert!(body(&reply)["detail"].is_array());
        }
    }

    #[test]
    fn q1_a_cached_name_answers_500() {
        let mut fleet = fleet(2, &[Quirk::CacheAnswers500]);
        fleet.register(START, "a_service", "http://a:1"); // by replica 0
        assert_eq!(fleet.get(START, "/services/a_service").status, 200, "replica 1 reads it from Redis");
        let reply = fleet.get(START, "/services/a_service");
        assert_eq!(reply.status, 500, "replica 0 took the registration");
        assert!(reply.body.contains("argument after ** must be a mapping, not tuple"));
        assert_eq!(fleet.get(START, "/services/a_service").status, 500, "replica 1 has it cached now");
    }

    #[test]
    fn q2_ten_reads_of_one_name_take_all_replicas_down_for_ten_seconds() {
        let mut fleet = fleet(5, &[Quirk::CacheAnswers500, Quirk::NginxMarksFailed]);
        fleet.register(START, "a_service", "http://a:1");
        let statuses: Vec<_> = (0..10).map(|_| fleet.get(START, "/services/a_service").status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 500, 500, 500, 500, 500, 502]);
        assert_eq!(fleet.get(secs(9), "/services").status, 502, "everything is down");
        assert_eq!(fleet.get(secs(10), "/services").status, 200);
    }

    #[test]
    fn q3_a_bad_token_is_500_with_401_in_its_text() {
        let mut fleet = fleet(1, &[Quirk::BadTokenIs500]);
        let call = Call { method: "DELETE", path: "/deregister/a", token: Some("wrong"), body: b"" };
        let reply = fleet.call(START, call);
        assert!(reply.status == 500 && reply.body.contains("401"), "{reply:?}");
    }

    #[test]
    fn q4_a_heartbeat_after_a_flush_is_500_and_never_404() {
        let mut fleet = fleet(1, &[Quirk::UnknownHeartbeatIs500]);
        fleet.register(START, "a_service", "http://a:1");
        fleet.flush_redis();
        let reply = fleet.beat(START, "a_service");
        assert_eq!(reply.status, 500);
        assert_eq!(body(&reply)["detail"], "Heartbeat failed: Service 'a_service' not registered");
    }

    #[test]
    fn q5_an_expired_name_stays_listed_until_the_sweep() {
        let mut fleet = fleet(1, &[Quirk::ListsExpired]);
        fleet.register(secs(1), "a_service", "http://a:1"); // expires at 61, swept at 90
        assert_eq!(body(&fleet.get(secs(89), "/services")), json!(["a_service"]));
        assert_eq!(fleet.get(secs(89), "/services/a_service").status, 404);
        assert_eq!(body(&fleet.get(secs(90), "/services")), json!([]));
    }

    #[test]
    fn q6_a_replica_that_did_not_sweep_keeps_the_dead() {
        for (quirk, status) in [(Quirk::CacheAnswers500, 500), (Quirk::RepairedButFrozen, 200)] {
            let mut fleet = fleet(2, &[quirk, Quirk::KeepsDead]);
            fleet.next = 1;
            fleet.register(START, "a_service", "http://a:1"); // by replica 1, which never finds anything to sweep
            assert_eq!(fleet.get(secs(1000), "/services/a_service").status, 404, "replica 0");
            let reply = fleet.get(secs(1000), "/services/a_service");
            assert_eq!(reply.status, status, "replica 1");
            assert!(status == 500 || body(&reply)["ttl_remaining"] == 60);
        }
    }

    #[test]
    fn q7_q8_a_cached_answer_is_frozen_and_a_registration_does_not_replace_it() {
        let mut fleet = fleet(1, &[Quirk::RepairedButFrozen]);
        fleet.register(START, "a_service", "http://a:1");
        fleet.register(START, "a_service", "http://b:2");
        let reply = body(&fleet.get(secs(30), "/services/a_service"));
        assert_eq!((&reply["endpoint"], &reply["ttl_remaining"]), (&json!("http://a:1"), &json!(60)));
    }

    #[test]
    fn q9_two_instances_are_one_record() {
        let mut fleet = fleet(3, &[]);
        fleet.register(START, "a_service", "http://a:1");
        fleet.register(secs(50), "a_service", "http://b:2");
        assert_eq!(fleet.endpoint(secs(50), "a_service"), "http://b:2", "overwritten");
        fleet.beat(secs(100), "a_service");
        assert_eq!(fleet.endpoint(secs(150), "a_service"), "http://b:2", "kept alive by either's heartbeat");
    }

    #[test]
    fn q10_any_string_registers() {
        for (name, endpoint) in [("", "http://a:1"), ("a/b", "http://a:1"), ("a", "not a url")] {
            assert_eq!(fleet(1, &[Quirk::AnyString]).register(START, name, endpoint).status, 201);
            assert_eq!(fleet(1, &[]).register(START, name, endpoint).status, 422);
        }
    }

    #[test]
    fn q11_a_late_heartbeat_leaves_a_record_without_an_endpoint() {
        let mut fleet = fleet(1, &[Quirk::HeartbeatRace, Quirk::ListsExpired]);
        fleet.register(secs(1), "a_service", "http://a:1");
        assert_eq!(fleet.beat(secs(62), "a_service").status, 200);
        assert_eq!(body(&fleet.get(secs(62), "/services")), json!(["a_service"]));
        assert_eq!(fleet.get(secs(62), "/services/a_service").status, 500);
    }

    #[test]
    fn q13_with_open_breakers_everything_seems_to_work() {
        let mut fleet = fleet(2, &[]);
        fleet.register(START, "a_service", "http://a:1"); // by replica 0
        fleet.open_breakers();
        assert_eq!(fleet.beat(START, "nobody").status, 200); // by replica 1
        assert_eq!(fleet.register(START, "b_service", "http://b:1").status, 201); // into replica 0 only
        assert_eq!(body(&fleet.get(START, "/services")), json!([]), "replica 1 knows nothing");
        assert_eq!(body(&fleet.get(START, "/services")), json!(["a_service", "b_service"]));
        fleet.restart();
        assert_eq!(
            body(&fleet.get(START, "/services")),
            json!(["a_service"]),
            "Redis never heard of the other"
        );
    }

    #[test]
    fn q16_redis_refusing_takes_3_s_and_hanging_18() {
        let mut fleet = fleet(1, &[]);
        fleet.redis_state = RedisState::Refusing;
        let reply = fleet.get(START, "/services");
        assert_eq!((reply.status, reply.after), (500, secs(3)));
        fleet.redis_state = RedisState::Hanging;
        let reply = fleet.register(START, "a_service", "http://a:1");
        assert_eq!((reply.status, reply.after), (500, secs(18)));
    }
}
