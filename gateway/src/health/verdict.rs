//! The words for an endpoint's health.

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// 2xx, or a connection where only that is asked for.
    Passed,
    /// Another status.
    BadStatus(u16),
    /// The gRPC health service says that it is not serving.
    NotServing,
    /// The gRPC health service does not know whether it is serving.
    Unknown,
    /// The gRPC server has no health service.
    Unimplemented,
    /// The gRPC health service knows no service of the name in the metadata.
    NoSuchService,
    /// What came back is not what was asked for (HTTP/1.1, or gRPC), or the connection was closed without an answer.
    BadAnswer,
    /// A connection, but no answer in time.
    Late,
    /// No connection in time.
    ConnectTimeout,
    /// No connection.
    Refused,
    /// No TLS connection: its certificate is not believed, or it speaks no TLS.
    Tls,
    /// The name does not resolve.
    Unresolved,
    /// The address must not be connected to.
    Forbidden,
    /// Our own fault (no file descriptor, no port, no time): it says nothing about the endpoint.
    Inconclusive,
}

impl CheckResult {
    /// Every label, for counters.
    pub const LABELS: [&'static str; 14] = [
        "passed",
        "bad_status",
        "not_serving",
        "unknown",
        "unimplemented",
        "no_such_service",
        "bad_answer",
        "late",
        "connect_timeout",
        "refused",
        "tls",
        "unresolved",
        "forbidden",
        "inconclusive",
    ];

    /// A word for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::BadStatus(_) => "bad_status",
            Self::NotServing => "not_serving",
            Self::Unknown => "unknown",
            Self::Unimplemented => "unimplemented",
            Self::NoSuchService => "no_such_service",
            Self::BadAnswer => "bad_answer",
            Self::Late => "late",
            Self::ConnectTimeout => "connect_timeout",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::Unresolved => "unresolved",
            Self::Forbidden => "forbidden",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The status, where it was a wrong one.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::BadStatus(status) => Some(status),
            Self::Passed
            | Self::NotServing
            | Self::Unknown
            | Self::Unimplemented
            | Self::NoSuchService
            | Self::BadAnswer
            | Self::Late
            | Self::ConnectTimeout
            | Self::Refused
            | Self::Tls
            | Self::Unresolved
            | Self::Forbidden
            | Self::Inconclusive => None,
        }
    }

    /// Whether a connection came about.
    pub fn connected(self) -> bool {
        match self {
            Self::Passed
            | Self::BadStatus(_)
            | Self::NotServing
            | Self::Unknown
            | Self::Unimplemented
            | Self::NoSuchService
            | Self::BadAnswer
            | Self::Tls
            | Self::Late => true,
            Self::ConnectTimeout
            | Self::Refused
            | Self::Unresolved
            | Self::Forbidden
            | Self::Inconclusive => false,
        }
    }

    /// Why nobody could ever use the entry as it stands, for who registered it. No reason names an address that a name
    /// resolves to: that is not the registrant's to know.
    pub fn unusable(self) -> Option<&'static str> {
        match self {
            Self::Unimplemented => {
                Some("its metadata say health = grpc, and the server there has no gRPC health service")
            }
            Self::NoSuchService => {
                Some("its gRPC health service does not know the name in its metadata grpc_service")
            }
            Self::Unresolved => Some("the name in its URL does not resolve here"),
            Self::Forbidden => {
                Some("the name in its URL resolves to an address that the gateway does not connect to")
            }
            Self::Passed
            | Self::BadStatus(_)
            | Self::NotServing
            | Self::Unknown
            | Self::BadAnswer
            | Self::Late
            | Self::ConnectTimeout
            | Self::Refused
            // It may be we who do not know its authority.
            | Self::Tls
            | Self::Inconclusive => None,
        }
    }

    /// Whether somebody lives there, be it in a bad state: what a registry that forgot the instance is outvoted by.
    pub fn proves_life(self) -> bool {
        match self {
            Self::Passed | Self::NotServing | Self::Unknown | Self::Unimplemented | Self::NoSuchService => {
                true
            }
            Self::BadStatus(status) => status < 500,
            Self::BadAnswer
            | Self::Late
            | Self::ConnectTimeout
            | Self::Refused
            | Self::Tls
            | Self::Unresolved
            | Self::Forbidden
            | Self::Inconclusive => false,
        }
    }
}

/// Why requests alone had an endpoint left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectReason {
    /// They could not connect.
    ConnectFailures,
    /// It answered 502, 503 or 504, or not at all.
    Errors,
    /// It failed far more of them than its peers did.
    SuccessRate,
}

impl EjectReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ConnectFailures, Self::Errors, Self::SuccessRate];

    /// A word for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::ConnectFailures => "connect_failures",
            Self::Errors => "errors",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// What is thought of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New beside others: it gets no request before its first check.
    Waiting,
    /// Not checked, and nothing speaks against it.
    Untested,
    /// Its last checks passed, and requests do not say otherwise.
    Good,
    /// Its last checks failed.
    Failing(CheckResult),
    /// Requests failed.
    Ejected(EjectReason),
    /// Its time as an ejected one is over: one request decides.
    Trial(EjectReason),
}

impl Verdict {
    /// Every label, for gauges.
    pub const LABELS: [&'static str; 6] = ["waiting", "untested", "good", "failing", "ejected", "trial"];

    /// A word for people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Untested => "untested",
            Self::Good => "good",
            Self::Failing(_) => "failing",
            Self::Ejected(_) => "ejected",
            Self::Trial(_) => "trial",
        }
    }

    /// What it rests on, for people.
    pub fn reason(self) -> Option<String> {
        match self {
            Self::Waiting | Self::Untested | Self::Good => None,
            Self::Failing(CheckResult::BadStatus(status)) => Some(format!("checks are answered {status}")),
            Self::Failing(result) => Some(format!("checks fail: {}", result.label())),
            Self::Ejected(reason) | Self::Trial(reason) => Some(match reason {
                EjectReason::ConnectFailures => "requests could not connect".into(),
                EjectReason::Errors => "requests failed in a row".into(),
                EjectReason::SuccessRate => "it failed far more requests than its peers".into(),
            }),
        }
    }

    /// Whether something speaks against it.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Waiting | Self::Untested | Self::Good => false,
            Self::Failing(_) | Self::Ejected(_) | Self::Trial(_) => true,
        }
    }
}
