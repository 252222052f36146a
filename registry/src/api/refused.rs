//! Every way in which a call is refused, and the answer to each.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use vertice_process::answer::{self, Answer};
use vertice_registry_api::FieldError;
use vertice_registry_api::heartbeat::UnknownLease;
use vertice_registry_api::legacy::Detail;
use vertice_registry_api::watch::Gone;

use crate::auth::AuthRefusal;
use crate::store::Refusal;

/// Why a call did nothing.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// 422: fields of the body, the path or the query are wrong.
    Fields(Vec<FieldError>),
    /// 401: no token, or not one of ours.
    Token,
    /// 403: a token that may not do this.
    Forbidden(String),
    /// 404: there is no such service.
    NotFound(String),
    /// 404: there is no such lease; register again after the pause.
    UnknownLease { what: String, retry_after_ms: u64 },
    /// 409: somebody newer holds it.
    Conflict(String),
    /// 429: taken over too often; it ends by itself.
    Flapping { whose: String, left: Duration },
    /// 410: the asked revision is not in the log.
    Gone(Gone),
    /// 413
    TooLarge { limit_bytes: usize },
    /// 408
    SlowBody,
    /// 400
    BrokenBody,
    /// 429: a limit on what is stored is reached.
    Full { what: &'static str, limit: usize },
    /// 503: the process is about to end and has written its last word.
    Stopping,
    /// 503: too many of this kind at once.
    Busy { what: &'static str, limit: usize },
}

impl Refused {
    pub(super) fn field(error: FieldError) -> Self {
        Self::Fields(vec![error])
    }

    /// The answer to what the store refused about `instance` of `service`.
    pub(super) fn by_store(refusal: &Refusal, service: &str, instance: &str) -> Self {
        let whose = || format!("instance '{instance}' of service '{service}'");
        match refusal {
            Refusal::Unknown => Self::unknown_lease(service, instance),
            Refusal::OldGeneration => {
                Self::Conflict(format!("{} was taken over: the generation is an old one", whose()))
            }
            Refusal::OlderIncarnation { held } => {
                Self::Conflict(format!("{} is held by the newer incarnation {held}", whose()))
            }
            Refusal::Flapping { left, begins } => {
                if *begins {
                    tracing::warn!(
                        service,
                        instance,
                        "taken over again and again: its holder keeps it for a minute"
                    );
                }
                Self::Flapping { whose: whose(), left: *left }
            }
            Refusal::Full { what, limit } => Self::Full { what, limit: *limit },
        }
    }

    /// The pause is drawn, so that a fleet that lost its leases at once does not come back at once.
    pub(super) fn unknown_lease(service: &str, instance: &str) -> Self {
        let what = if instance == vertice_registry_api::name::LEGACY_INSTANCE {
            format!("Service '{service}' not registered")
        } else {
            format!("Instance '{instance}' of service '{service}' not registered")
        };
        Self::UnknownLease { what, retry_after_ms: fastrand::u64(50..1000) }
    }
}

impl From<AuthRefusal> for Refused {
    fn from(refusal: AuthRefusal) -> Self {
        match refusal {
            AuthRefusal::Unknown => Self::Token,
            AuthRefusal::Verb { principal, lacks } => {
                Self::Forbidden(format!("the token of '{principal}' has not the verb '{lacks}'"))
            }
        }
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fields(errors) => json(StatusCode::UNPROCESSABLE_ENTITY, &Detail { detail: errors }),
            Refused::Token => detail(
                StatusCode::UNAUTHORIZED,
                "Invalid or missing registry token in the header X-Registry-Token",
            ),
            Refused::Forbidden(why) => detail(StatusCode::FORBIDDEN, &why),
            Refused::NotFound(what) => detail(StatusCode::NOT_FOUND, &what),
            Refused::UnknownLease { what, retry_after_ms } => {
                json(StatusCode::NOT_FOUND, &UnknownLease { detail: what, retry_after_ms })
            }
            Refused::Conflict(why) => detail(StatusCode::CONFLICT, &why),
            Refused::Flapping { whose, left } => {
                let seconds = left.as_secs() + 1;
                let why = format!(
                    "{whose} was taken over more than five times within a minute: do two processes have this id, or does one restart in a circle? Whoever holds it keeps it for {seconds} s more"
                );
                with(detail(StatusCode::TOO_MANY_REQUESTS, &why), RETRY_AFTER, HeaderValue::from(seconds))
            }
            Refused::Gone(gone) => json(StatusCode::GONE, &gone),
            Refused::TooLarge { limit_bytes } => detail(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is over the limit of {limit_bytes} bytes"),
            ),
            Refused::SlowBody => {
                detail(StatusCode::REQUEST_TIMEOUT, "the body was not complete within 10 seconds")
            }
            Refused::BrokenBody => detail(StatusCode::BAD_REQUEST, "the body broke off"),
            Refused::Full { what, limit } => retry(
                detail(StatusCode::TOO_MANY_REQUESTS, &format!("the registry takes at most {limit} {what}")),
                "60",
            ),
            Refused::Stopping => {
                retry(detail(StatusCode::SERVICE_UNAVAILABLE, "the registry is stopping: try again"), "1")
            }
            Refused::Busy { what, limit } => retry(
                detail(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &format!("the registry serves at most {limit} {what} at once"),
                ),
                "5",
            ),
        }
    }
}

fn retry(answer: Answer, seconds: &'static str) -> Answer {
    with(answer, RETRY_AFTER, HeaderValue::from_static(seconds))
}

pub(super) fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

fn detail(status: StatusCode, text: &str) -> Answer {
    json(status, &Detail { detail: text })
}

/// `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    // Serialising our own bodies cannot fail: string keys only, no foreign code.
    answer::json(status, serde_json::to_vec(body).unwrap_or_default())
}
