//! What a registry's answer to a write means. Pure.

use std::time::Duration;

use http::StatusCode;
use vertice_registry_api::heartbeat::UnknownLease;
use vertice_registry_api::register::RegisterAnswer;
use vertice_registry_api::reject::Rejection;

use crate::http::Answer;

/// The original's lease; its answers do not tell it.
const OLD_TTL: Duration = Duration::from_mins(1);
/// The longest pause that a server may ask for before a re-registration: the lease is gone, traffic is waiting.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Rejections that are kept, and of each; the registry keeps as many.
const REJECTIONS: usize = 8;
const REJECTION_CHARS: usize = 400;

/// Which of the two contracts a registry speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// Ours: `/v1`.
    Ours,
    /// The five old calls only: one record per name, no status.
    OldCalls,
}

/// A registration that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// With whom.
    pub kind: RegistryKind,
    /// Wanted back by our registry in every later call.
    pub generation: u64,
    /// How long it lasts without a heartbeat.
    pub ttl: Duration,
    /// What the server asks for, if it does.
    pub interval: Option<Duration>,
}

/// What became of a try to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands.
    Granted(Granted),
    /// This server does not know the call. Only for the call of `/v1`.
    UnknownCall,
    /// The server understood and said no, in these words: trying again soon changes nothing.
    Refused(String),
    /// Anything else: try again.
    Failed(String),
}

/// What became of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease goes on.
    Renewed,
    /// The lease is gone: register again, within this time.
    Lost {
        /// Drawn from zero to this, so that a herd is spread.
        within: Duration,
        /// The server's.
        words: String,
    },
    /// As in [`Verdict`].
    Refused(String),
    /// As in [`Verdict`].
    Failed(String),
}

/// Judges the answer to `PUT /v1/services/{s}/instances/{id}`.
pub fn put(answer: &Answer) -> Verdict {
    match answer.status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Verdict::UnknownCall,
        status if status.is_success() => match serde_json::from_slice::<RegisterAnswer>(&answer.body) {
            Ok(granted) => Verdict::Granted(Granted {
                kind: RegistryKind::Ours,
                generation: granted.generation,
                ttl: Duration::from_secs(granted.ttl.max(1).into()),
                interval: (granted.heartbeat_interval > 0)
                    .then(|| Duration::from_secs(granted.heartbeat_interval.into())),
            }),
            // A page of a proxy decides nothing about who is behind it.
            Err(error) => Verdict::Failed(answer.not_ours(error.to_string()).to_string()),
        },
        status if is_refusal(status) => Verdict::Refused(words(answer)),
        _ => Verdict::Failed(words(answer)),
    }
}

/// Judges the answer to the old `POST /register`. Any success counts, whatever its body.
pub fn old_register(answer: &Answer) -> Verdict {
    let status = answer.status;
    if status.is_success() {
        let kind = RegistryKind::OldCalls;
        return Verdict::Granted(Granted { kind, generation: 0, ttl: OLD_TTL, interval: None });
    }
    // The original's 401 never reaches the wire as one (Q3).
    if is_refusal(status) || status == StatusCode::INTERNAL_SERVER_ERROR && contains(answer, "401") {
        return Verdict::Refused(words(answer));
    }
    Verdict::Failed(words(answer))
}

/// Judges the answer to `POST /heartbeat`, of either kind.
pub fn beat(answer: &Answer) -> Beat {
    match answer.status {
        status if status.is_success() => Beat::Renewed,
        StatusCode::NOT_FOUND => {
            let asked = serde_json::from_slice::<UnknownLease>(&answer.body);
            let within = asked.map_or(Duration::ZERO, |lease| Duration::from_millis(lease.retry_after_ms));
            Beat::Lost { within: within.min(LONGEST_RETRY_AFTER), words: words(answer) }
        }
        // Someone else has the record now: registering again finds out whether they are newer.
        StatusCode::CONFLICT => Beat::Lost { within: Duration::ZERO, words: words(answer) },
        // The original's way to say it (Q4).
        StatusCode::INTERNAL_SERVER_ERROR if contains(answer, "not registered") => {
            Beat::Lost { within: Duration::ZERO, words: words(answer) }
        }
        status if is_refusal(status) => Beat::Refused(words(answer)),
        _ => Beat::Failed(words(answer)),
    }
}

/// What gateways say against the instance, for people, in the answer to a heartbeat. Of what no registry of ours sends
/// nothing is believed.
pub(crate) fn rejections(answer: &Answer) -> Vec<String> {
    let body = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    let listed = body.get("rejects").cloned().unwrap_or_default();
    let rejects: Vec<Rejection> = serde_json::from_value(listed).unwrap_or_default();
    let line = |reject: &Rejection| -> String {
        let text = format!("{}: {}", reject.gateway, reject.reason);
        text.chars().take(REJECTION_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    rejects.iter().take(REJECTIONS).map(line).collect()
}

/// Statuses with which a server says that this very request will never do.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 409 | 413 | 422)
}

fn contains(answer: &Answer, needle: &str) -> bool {
    String::from_utf8_lossy(&answer.body).to_lowercase().contains(needle)
}

fn words(answer: &Answer) -> String {
    format!("status {}, {}", answer.status.as_u16(), answer.words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.into() }
    }

    const OURS: &str = r#"{"message":"ok","service_name":"alpha","instance_id":"a:1","generation":7,"handle":1,"ttl":30,
        "heartbeat_interval":10,"epoch":"00000000000000000000000000000001","revision":1}"#;

    #[test]
    fn a_put_is_granted_by_our_answer_only() {
        let granted = Granted {
            kind: RegistryKind::Ours,
            generation: 7,
            ttl: Duration::from_secs(30),
            interval: Some(Duration::from_secs(10)),
        };
        assert_eq!(put(&answer(201, OURS)), Verdict::Granted(granted));
        assert!(matches!(put(&answer(200, "<html>welcome")), Verdict::Failed(_)));
        assert!(matches!(put(&answer(200, "{}")), Verdict::Failed(_)));
    }

    #[test]
    fn only_404_and_405_mean_that_a_put_is_unknown() {
        for status in [404, 405] {
            assert_eq!(put(&answer(status, "")), Verdict::UnknownCall);
        }
        for status in [400, 401, 403, 409, 413, 422] {
            assert!(matches!(put(&answer(status, "")), Verdict::Refused(_)), "{status}");
        }
        for status in [301, 408, 429, 500, 501, 502, 503] {
            assert!(matches!(put(&answer(status, "")), Verdict::Failed(_)), "{status}");
        }
    }

    #[test]
    fn an_old_registration_is_granted_by_any_success() {
        for body in [r#"{"message":"ok"}"#, "", "<html>"] {
            assert!(
                matches!(old_register(&answer(201, body)), Verdict::Granted(g) if g.kind == RegistryKind::OldCalls)
            );
        }
        let hidden = r#"{"detail":"Registration failed: 401: Invalid token"}"#;
        assert!(
            matches!(old_register(&answer(500, hidden)), Verdict::Refused(words) if words.contains("401"))
        );
        assert!(matches!(old_register(&answer(422, r#"{"detail":[]}"#)), Verdict::Refused(_)));
        for status in [404, 405, 500, 502] {
            assert!(matches!(old_register(&answer(status, "")), Verdict::Failed(_)), "{status}");
        }
    }

    #[test]
    fn a_lost_lease_is_told_in_three_ways() {
        let now = Duration::ZERO;
        let within = |status: u16, body: &str| match beat(&answer(status, body)) {
            Beat::Lost { within, .. } => Some(within),
            Beat::Renewed | Beat::Refused(_) | Beat::Failed(_) => None,
        };
        let asked = |ms: u64| format!(r#"{{"detail":"unknown","retry_after_ms":{ms}}}"#);
        assert_eq!(within(404, &asked(1500)), Some(Duration::from_millis(1500)));
        assert_eq!(
            within(404, &asked(3_600_000)),
            Some(Duration::from_secs(5)),
            "no server may ask for an hour"
        );
        assert_eq!(within(404, "Not Found"), Some(now));
        assert_eq!(within(409, "{}"), Some(now));
        assert_eq!(within(500, r#"{"detail":"Heartbeat failed: Service 'x' not registered"}"#), Some(now));
        for (status, body) in [(200, ""), (500, ""), (500, "oops"), (502, "not registered"), (503, "")] {
            assert_eq!(within(status, body), None, "{status} {body}");
        }
        assert!(matches!(beat(&answer(403, "")), Beat::Refused(_)));
    }

    #[test]
    fn a_renewal_tells_who_rejects_the_instance() {
        let told = |body: &str| rejections(&answer(200, body));
        let body = r#"{"message":"ok","rejects":[{"gateway":"g1","reason":"no\nsuch name","age_s":3}]}"#;
        assert_eq!(told(body), ["g1: no such name"]);
        for nothing in ["", "{}", r#"{"rejects":7}"#, r#"{"rejects":[1]}"#, r#"{"rejects":[]}"#] {
            assert!(told(nothing).is_empty(), "{nothing}");
        }
        let many: Vec<_> = (0..99)
            .map(|n| serde_json::json!({"gateway": n.to_string(), "reason": "x", "age_s": 0}))
            .collect();
        assert_eq!(told(&serde_json::json!({"rejects": many}).to_string()).len(), 8);
    }
}
