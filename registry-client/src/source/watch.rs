//! Following our registry: long polls from the local position, each with its own deadline, until history breaks off.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};
use vertice_registry_api::watch::WatchAnswer;
use vertice_registry_api::{Position, SourceState};

use crate::error::SourceError;
use crate::event::{Event, SourceKind};
use crate::http::{Answer, Client};
use crate::source::Driver;
use crate::source::replica::Replica;

/// What a long poll asks the server to wait: under the minute after which usual proxies cut a silent connection.
const WAIT: Duration = Duration::from_secs(55);
/// The server may wait this much longer, to spread its clients.
const WAIT_JITTER: Duration = Duration::from_secs(5);
/// The largest answer that is read; a client that is further behind is better off with a snapshot.
const WATCH_BYTES: u64 = 64 * 1024 * 1024;
/// The least time between two answers without news, whatever the server makes of `wait`.
const QUIET_PAUSE: Duration = Duration::from_secs(1);

/// What one long poll brought.
#[derive(Debug)]
pub enum Watched {
    /// What is new.
    Changes(Box<WatchAnswer>),
    /// Nothing new; the state if the server told it.
    Quiet(Option<SourceState>),
    /// The position is not in the server's log (any more): take a snapshot.
    Gone,
    /// No such call here (any more): ask again who this is.
    OtherKind(u16),
}

/// Why watching ended. A snapshot is the way on in all cases.
#[derive(Debug)]
pub enum WatchEnd {
    /// Nothing is wrong: the position fell out of the server's log, or it has a new epoch.
    Gone,
    /// Whoever reads the events wants a whole read.
    Asked,
    /// What came could not be applied.
    Broken(SourceError),
}

/// Watches from `replica`'s position on. Returns only when a new snapshot is needed.
pub(crate) async fn follow(driver: &mut Driver, client: &Client, replica: &mut Replica) -> WatchEnd {
    // After a failure the first poll does not wait: it is there to prove that the registry is back.
    let mut reconnecting = false;
    // Whole seconds on the wire, and zero is no long poll.
    let longest = driver.config.watch_wait.unwrap_or(WAIT).max(Duration::from_secs(1));
    loop {
        let wait = if reconnecting { Duration::ZERO } else { longest.min(WAIT) };
        let asked = Instant::now();
        // A poll that is dropped takes nothing with it: the position stays where it is.
        let polled = tokio::select! {
            polled = poll_once(client, replica.position(), wait, driver.config.request_timeout) => polled,
            () = driver.resync.notified() => return WatchEnd::Asked,
        };
        match polled {
            Ok(watched) => {
                if reconnecting && !matches!(watched, Watched::OtherKind(_)) {
                    driver.emit(Event::Identified(SourceKind::Watched)).await;
                }
                match take(replica, watched) {
                    Ok(event) => {
                        let quiet = matches!(event, Event::Alive { .. });
                        driver.emit(event).await;
                        if quiet && !reconnecting {
                            sleep(QUIET_PAUSE.saturating_sub(asked.elapsed())).await;
                        }
                    }
                    Err(end) => return end,
                }
                reconnecting = false;
                driver.backoff.reset();
            }
            Err(error) => {
                reconnecting = true;
                driver.failed(error).await;
            }
        }
    }
}

/// Takes one answer in: what is to be said of it, or why a snapshot is needed. Pure.
pub fn take(replica: &mut Replica, watched: Watched) -> Result<Event, WatchEnd> {
    match watched {
        Watched::Changes(answer) => {
            let changes = replica.apply(*answer).map_err(WatchEnd::Broken)?;
            Ok(Event::Changed { changes, position: Some(replica.position()), state: replica.state() })
        }
        Watched::Quiet(state) => {
            replica.set_state(state.unwrap_or(replica.state()));
            Ok(Event::Alive { position: Some(replica.position()), state: replica.state() })
        }
        Watched::Gone => Err(WatchEnd::Gone),
        Watched::OtherKind(status) => Err(WatchEnd::Broken(SourceError::Status(status))),
    }
}

async fn poll_once(
    client: &Client,
    position: Position,
    wait: Duration,
    request_timeout: Duration,
) -> Result<Watched, SourceError> {
    let Position { epoch, revision } = position;
    let path = format!("/v1/watch?epoch={epoch}&revision={revision}&wait={}", wait.as_secs());
    let deadline = request_timeout + if wait.is_zero() { Duration::ZERO } else { wait + WAIT_JITTER };
    let answer = client.ask(Method::GET, &path, None, deadline, WATCH_BYTES).await;
    match answer {
        // Too far behind to catch up in one answer.
        Err(SourceError::TooLarge(_)) => Ok(Watched::Gone),
        other => judge(&other?),
    }
}

/// What an answer to a long poll means. Pure.
fn judge(answer: &Answer) -> Result<Watched, SourceError> {
    match answer.status {
        StatusCode::OK => serde_json::from_slice(&answer.body)
            .map(|parsed| Watched::Changes(Box::new(parsed)))
            .map_err(|error| answer.not_ours(format!("not the answer of a watch: {error}"))),
        StatusCode::NO_CONTENT => {
            let word = answer.headers.get("x-registry-state").and_then(|value| value.to_str().ok());
            Ok(Watched::Quiet(word.and_then(|w| serde_json::from_value(w.into()).ok())))
        }
        StatusCode::GONE => Ok(Watched::Gone),
        status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => {
            Ok(Watched::OtherKind(status.as_u16()))
        }
        other => Err(SourceError::Status(other.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn each_status_has_its_meaning() {
        assert!(matches!(judge(&answer(204, "")), Ok(Watched::Quiet(None))));
        assert!(matches!(judge(&answer(410, "{}")), Ok(Watched::Gone)));
        assert!(matches!(judge(&answer(404, "")), Ok(Watched::OtherKind(404))));
        assert!(matches!(judge(&answer(405, "")), Ok(Watched::OtherKind(405))));
        assert!(matches!(judge(&answer(200, "<html>")), Err(SourceError::NotOurs { .. })));
        for status in [201, 301, 401, 403, 429, 500, 502, 503] {
            assert_eq!(judge(&answer(status, "{}")).unwrap_err(), SourceError::Status(status));
        }
    }

    #[test]
    fn a_quiet_answer_may_tell_the_registrys_state() {
        let mut quiet = answer(204, "");
        quiet.headers.insert("x-registry-state", "preserving".parse().unwrap());
        assert!(matches!(judge(&quiet), Ok(Watched::Quiet(Some(SourceState::Preserving)))));
        quiet.headers.insert("x-registry-state", "confused".parse().unwrap());
        assert!(matches!(judge(&quiet), Ok(Watched::Quiet(None))));
    }
}
