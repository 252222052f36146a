//! What gateways reject and why, kept for those who registered it. Pure, bounded, and forgotten by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use vertice_registry_api::reject::{REASON_BYTES, Reject, Rejection};

/// A gateway repeats what it rejects; what is not repeated for so long is forgotten.
pub const KEPT: Duration = Duration::from_mins(10);
/// Rejects in all.
pub const MAX_KEPT: usize = 10_000;
/// Gateways that are named per instance: the reasons of a thousand gateways are the same.
const PER_INSTANCE: usize = 8;

#[derive(Debug)]
struct Said {
    gateway: String,
    generation: u64,
    reason: String,
    at: Duration,
}

/// All rejects, by service and instance.
#[derive(Debug, Default)]
pub struct Rejects {
    said: BTreeMap<String, BTreeMap<String, Vec<Said>>>,
    count: usize,
}

impl Rejects {
    /// Takes all that `gateway` rejects, in the place of what it said before. How many were kept.
    pub fn say(&mut self, gateway: &str, rejects: Vec<Reject>, now: Duration) -> usize {
        self.forget(|said| said.gateway == gateway || said.at + KEPT <= now);
        let mut kept = 0;
        for Reject { service, instance_id, generation, reason } in rejects {
            if self.count >= MAX_KEPT {
                break;
            }
            let instances = self.said.entry(service.into()).or_default();
            let all = instances.entry(instance_id.into()).or_default();
            if all.len() < PER_INSTANCE {
                all.push(Said {
                    gateway: gateway.to_owned(),
                    generation,
                    reason: readable(&reason),
                    at: now,
                });
                self.count += 1;
                kept += 1;
            }
        }
        kept
    }

    /// Who rejects this instance in this generation (`None`: whichever).
    pub fn about(&self, service: &str, id: &str, generation: Option<u64>, now: Duration) -> Vec<Rejection> {
        let all = self.said.get(service).and_then(|instances| instances.get(id));
        let is_now = |said: &&Said| {
            generation.is_none_or(|generation| said.generation == generation) && now < said.at + KEPT
        };
        let told = |said: &Said| Rejection {
            gateway: said.gateway.clone(),
            reason: said.reason.clone(),
            age_s: now.saturating_sub(said.at).as_secs(),
        };
        all.into_iter().flatten().filter(is_now).map(told).collect()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn forget(&mut self, which: impl Fn(&Said) -> bool) {
        self.said.retain(|_, instances| {
            instances.retain(|_, all| {
                all.retain(|said| !which(said));
                !all.is_empty()
            });
            !instances.is_empty()
        });
        self.count = self.said.values().flat_map(BTreeMap::values).map(Vec::len).sum();
    }
}

/// A reason on one line and of a bounded length.
fn readable(reason: &str) -> String {
    let mut text = String::new();
    for c in reason.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if text.len() + c.len_utf8() > REASON_BYTES {
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use vertice_registry_api::{InstanceId, ServiceName};

    const AT: fn(u64) -> Duration = Duration::from_secs;

    fn reject(id: &str, generation: u64, reason: &str) -> Reject {
        Reject {
            service: ServiceName::parse("osint_service").unwrap(),
            instance_id: InstanceId::parse(id).unwrap(),
            generation,
            reason: reason.into(),
        }
    }

    fn about(rejects: &Rejects, id: &str, now: u64) -> Vec<String> {
        let all = rejects.about("osint_service", id, Some(1), AT(now));
        all.into_iter().map(|told| format!("{} {} {}", told.gateway, told.reason, told.age_s)).collect()
    }

    #[test]
    fn each_word_of_a_gateway_replaces_its_last() {
        let mut rejects = Rejects::default();
        assert_eq!(rejects.say("g1", vec![reject("a", 1, "x"), reject("b", 1, "y")], AT(0)), 2);
        assert_eq!(rejects.say("g2", vec![reject("a", 1, "z")], AT(1)), 1);
        assert_eq!(about(&rejects, "a", 3), ["g1 x 3", "g2 z 2"]);
        rejects.say("g1", vec![reject("b", 1, "y")], AT(4));
        assert_eq!((about(&rejects, "a", 4), rejects.len()), (vec!["g2 z 3".to_owned()], 2));
        rejects.say("g1", vec![], AT(5));
        assert!(about(&rejects, "b", 5).is_empty());
    }

    #[test]
    fn another_generation_and_old_words_mean_nothing() {
        let mut rejects = Rejects::default();
        rejects.say("g1", vec![reject("a", 1, "x"), reject("b", 2, "y")], AT(0));
        assert!(about(&rejects, "b", 1).is_empty());
        assert!(about(&rejects, "a", 600).is_empty());
        rejects.say("g2", vec![], AT(600));
        assert!(rejects.is_empty());
    }

    #[test]
    fn it_is_bounded_in_every_direction() {
        let mut rejects = Rejects::default();
        for gateway in 0..20 {
            rejects.say(&format!("g{gateway}"), vec![reject("a", 1, "x")], AT(0));
        }
        assert_eq!(about(&rejects, "a", 0).len(), PER_INSTANCE);
        for gateway in 0..20 {
            let all = (0..1000).map(|n| reject(&format!("{gateway}:{n}"), 1, "x")).collect();
            rejects.say(&format!("g{gateway}"), all, AT(0));
        }
        assert_eq!(rejects.len(), MAX_KEPT);
        rejects.say("g0", vec![reject("z", 1, &"é\n".repeat(500))], AT(0));
        let reason = &rejects.about("osint_service", "z", None, AT(0))[0].reason;
        assert!(reason.len() <= REASON_BYTES && !reason.contains('\n'));
    }
}
