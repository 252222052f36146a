//! One limit of the configuration: whom it counts together, and what clients are told of it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::Instant;
use vertice_config::gateway::policy::{CountedBy, RateLimitConfig};

use super::buckets::Buckets;
use super::gcra::{Left, Rate, Verdict};
use super::store::StoreStats;
use crate::listener::census::holder;

/// Longer parts of names are remembered by their SHA-256: a client chooses what it sends, not how much we remember.
const PART_BYTES: usize = 64;
/// Names that are listed for the store: with Redis away for long there may be more to tell than is worth a list.
const LISTED: usize = 16_384;

/// A limit, shared by the workers. It outlives reloads that leave it as it is.
#[derive(Debug)]
pub struct Limiter {
    /// As it is configured.
    pub config: Arc<RateLimitConfig>,
    /// Everybody.
    pub buckets: Buckets,
    /// From when on its times are counted.
    epoch: Instant,
    /// Who is to be told to the store; `None`: it is not shared.
    outbox: Option<Outbox>,
}

/// Names of which the store has not heard everything.
#[derive(Debug)]
struct Outbox {
    names: Mutex<Names>,
    store: StoreDoor,
}

/// The store as limits see it.
#[derive(Clone, Debug)]
pub struct StoreDoor {
    /// Rung when there is something to tell.
    pub bell: Arc<Notify>,
    /// Whether it answers.
    pub stats: Arc<StoreStats>,
}

#[derive(Debug, Default)]
struct Names {
    list: Vec<Box<[u8]>>,
    /// There were too many for the list: they are looked for among all.
    all: bool,
}

impl Outbox {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a request says with which others it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// Who asks, once that is known.
    pub key: Option<&'a str>,
    /// The route's name.
    pub route: &'a str,
    /// The head as it came.
    pub headers: &'a HeaderMap,
    /// Fields that were found out about who asks; they count instead of what came.
    pub found_out: &'a [(HeaderName, HeaderValue)],
}

impl Limiter {
    /// One under which nothing happened yet; `store`: where it is counted with other gateways.
    pub fn new(config: Arc<RateLimitConfig>, store: Option<StoreDoor>) -> Self {
        let rate = Rate::new(config.requests, config.per, config.burst);
        let outbox = store.filter(|_| config.shared).map(|store| Outbox { names: Mutex::default(), store });
        Self { buckets: Buckets::new(rate), config, epoch: Instant::now(), outbox }
    }

    /// A moment as its times are counted.
    pub fn time(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// One request of `name`.
    pub fn take(&self, name: &[u8], now: Instant) -> Verdict {
        let alone = self.outbox.as_ref().is_some_and(|outbox| !outbox.store.stats.is_reachable());
        let taken = self.buckets.take(name, self.time(now), alone);
        if taken.first_untold {
            self.post(name);
        }
        taken.verdict
    }

    /// A request of `name` that was admitted here was refused elsewhere.
    pub fn give_back(&self, name: &[u8], now: Instant) {
        if self.buckets.give_back(name, self.time(now)) {
            self.post(name);
        }
    }

    /// At most `most` names of which the store has not heard everything.
    pub fn collect(&self, most: usize) -> Vec<Box<[u8]>> {
        let Some(outbox) = &self.outbox else { return Vec::new() };
        let mut names = outbox.names();
        if std::mem::take(&mut names.all) {
            names.list = self.buckets.untold();
        }
        let rest = names.list.len().saturating_sub(most);
        names.list.split_off(rest)
    }

    /// Names of which the store has not heard everything, as far as they are listed.
    pub fn waiting(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| {
            let names = outbox.names();
            if names.all { LISTED } else { names.list.len() }
        })
    }

    /// Puts `name` among those of which the store has not heard everything.
    pub fn post(&self, name: &[u8]) {
        let Some(outbox) = &self.outbox else { return };
        let mut names = outbox.names();
        if names.all {
            return;
        }
        if names.list.len() >= LISTED {
            *names = Names { list: Vec::new(), all: true };
            return;
        }
        names.list.push(name.into());
        if names.list.len() == 1 {
            outbox.store.bell.notify_one();
        }
    }

    /// With whom `asker` is counted.
    pub fn name(&self, asker: &Asker<'_>) -> Vec<u8> {
        let mut name = Vec::with_capacity(PART_BYTES);
        for by in &self.config.by {
            match by {
                CountedBy::Address => match holder(asker.address) {
                    IpAddr::V4(four) => part(&mut name, &four.octets()),
                    // The /64 that its holder has.
                    IpAddr::V6(six) => part(&mut name, six.octets().first_chunk::<8>().unwrap_or(&[0; 8])),
                },
                CountedBy::Key => part(&mut name, asker.key.unwrap_or_default().as_bytes()),
                CountedBy::Route => part(&mut name, asker.route.as_bytes()),
                CountedBy::Header(field) => {
                    let found_out = asker.found_out.iter().rev().find(|(name, _)| name == field);
                    // All values of a repeated field are looked at; who leaves it out is counted with all who do.
                    let mut values = asker.headers.get_all(field).iter();
                    match (found_out, values.next(), values.next()) {
                        (Some((_, value)), _, _) | (None, Some(value), None) => {
                            part(&mut name, value.as_bytes());
                        }
                        (None, None, _) => part(&mut name, b""),
                        (None, Some(_), Some(_)) => {
                            let all = asker.headers.get_all(field).iter();
                            let all: Vec<&[u8]> = all.map(HeaderValue::as_bytes).collect();
                            part(&mut name, &all.join(&b','));
                        }
                    }
                }
            }
        }
        name
    }

    /// What the client is told that it has left: an item of `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn tell(&self, left: Left, fields: &mut String) {
        if !fields.is_empty() {
            fields.push_str(", ");
        }
        // Writing to a String does not fail.
        let _ = write!(fields, "\"{}\";r={};t={}", self.config.name, left.requests, seconds(left.full_in));
    }

    /// What the client is told of the limit itself: an item of `RateLimit-Policy`.
    pub fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.config.name, self.config.requests, self.config.per.as_secs())
    }
}

/// `nanoseconds` in whole seconds, the next one where it is none.
pub fn seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(1_000_000_000)
}

/// A part is preceded by its length: no two lists of parts are one name.
fn part(name: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= PART_BYTES => {
            name.push(length);
            name.extend_from_slice(bytes);
        }
        Ok(_) | Err(_) => {
            name.push(u8::MAX);
            name.extend_from_slice(&Sha256::digest(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limiter(by: Vec<CountedBy>) -> Limiter {
        let per = Duration::from_mins(1);
        let config = RateLimitConfig { name: "l".into(), requests: 10, per, burst: 2, by, shared: false };
        Limiter::new(Arc::new(config), None)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    fn asker<'a>(address: &str, route: &'a str, headers: &'a HeaderMap) -> Asker<'a> {
        Asker { address: address.parse().unwrap(), key: None, route, headers, found_out: &[] }
    }

    /// Whether two askers are counted together.
    fn together(by: &[CountedBy], a: (&str, &str, &HeaderMap), b: (&str, &str, &HeaderMap)) -> bool {
        let limiter = limiter(by.to_vec());
        let name = |(address, route, headers): (&str, &str, &HeaderMap)| {
            limiter.name(&asker(address, route, headers))
        };
        name(a) == name(b)
    }

    #[test]
    fn who_is_counted_together() {
        let none = headers(&[]);
        let address = [CountedBy::Address];
        for (a, b, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(together(&address, (a, "r", &none), (b, "other", &none)), same, "{a} {b}");
        }
        let both = [CountedBy::Route, CountedBy::Address];
        assert!(!together(&both, ("10.0.0.1", "r", &none), ("10.0.0.1", "s", &none)));
        let field = [CountedBy::Header(HeaderName::from_static("x-tenant"))];
        let long = "x".repeat(200);
        let longer = "x".repeat(201);
        for (a, b, same) in [
            (headers(&[("x-tenant", "a")]), headers(&[("x-tenant", "a")]), true),
            (headers(&[("x-tenant", "a")]), headers(&[("x-tenant", "b")]), false),
            (headers(&[("x-tenant", "a")]), headers(&[("x-tenant", "a"), ("x-tenant", "b")]), false),
            (headers(&[("x-tenant", "")]), headers(&[]), true),
            (headers(&[("x-tenant", &long)]), headers(&[("x-tenant", &long)]), true),
            (headers(&[("x-tenant", &long)]), headers(&[("x-tenant", &longer)]), false),
        ] {
            assert_eq!(together(&field, ("10.0.0.1", "r", &a), ("10.0.0.2", "r", &b)), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_long_value_costs_no_more_than_a_short_one() {
        let limiter = limiter(vec![CountedBy::Header(HeaderName::from_static("x-tenant"))]);
        let headers = headers(&[("x-tenant", &"x".repeat(60_000))]);
        assert_eq!(limiter.name(&asker("10.0.0.1", "r", &headers)).len(), 33);
        let known = [(HeaderName::from_static("x-tenant"), HeaderValue::from_static("a"))];
        let asker = Asker { found_out: &known, ..asker("10.0.0.1", "r", &headers) };
        assert_eq!(limiter.name(&asker), b"\x01a", "what was found out counts, not what was claimed");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_in_whole_seconds() {
        let limiter = limiter(vec![CountedBy::Route]);
        assert_eq!(limiter.policy(), "\"l\";q=10;w=60");
        let mut fields = String::new();
        for _ in 0..3 {
            let (Verdict::Admitted(left) | Verdict::Refused { left, .. }) =
                limiter.take(b"a", Instant::now());
            limiter.tell(left, &mut fields);
        }
        assert_eq!(fields, "\"l\";r=1;t=6, \"l\";r=0;t=12, \"l\";r=0;t=12");
        assert_eq!(limiter.buckets.counts().refused, 1);
        tokio::time::advance(Duration::from_millis(100)).await;
        let Verdict::Refused { wait, .. } = limiter.take(b"a", Instant::now()) else { panic!() };
        assert_eq!((wait, seconds(wait)), (5_900_000_000, 6));
    }
}
