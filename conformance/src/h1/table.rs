//! The words in which the cases of HTTP/1.1 are written.

use crate::case::Level;
use crate::upstream::Answer;

/// One case: what is sent, how the service answers, and what must come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// The section of the RFC, or the row of the hardening list.
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    pub(crate) steps: &'static [Step],
    pub(crate) answer: Answer,
    /// All of them must hold.
    pub(crate) checks: &'static [Check],
}

/// What the client does. `{t}` in bytes is the case's token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Send(&'static [u8]),
    /// One byte so many times.
    Fill(u8, usize),
    /// These bytes so many times.
    Repeat(&'static [u8], usize),
    /// Waits until these bytes have come; goes on without them when the patience is over.
    Await(&'static [u8]),
}

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// The first final answer has one of these statuses.
    Status(&'static [u16]),
    /// The target closes the connection.
    Closed,
    /// The connection carries another request.
    Open,
    /// Nothing of the case reached the service.
    Nothing,
    /// So many requests reached the service, all of them well framed.
    Requests(usize),
    /// At most so many requests reached the service, and none of them whole.
    NotWhole,
    /// This stands in the first request that the service saw; case does not matter.
    Saw(&'static str),
    /// This does not stand in any request that the service saw.
    Lacks(&'static str),
    /// The body of the first request, without its framing.
    Body(&'static [u8]),
    /// So many final answers came.
    Answers(usize),
    /// This stands in what the client got; case does not matter.
    Got(&'static str),
    /// This does not stand in what the client got.
    GotNot(&'static str),
    /// The body of the first final answer.
    AnswerBody(&'static [u8]),
    /// The answer is visibly not whole: cut before the end that its framing promises.
    Cut,
    /// Requests of other clients afterwards get their own answers.
    Clean,
    /// All of the one list or all of the other.
    Either(&'static [Self], &'static [Self]),
}

/// A case with an ordinary service.
pub(crate) const fn case(
    id: &'static str,
    section: &'static str,
    level: Level,
    what: &'static str,
    steps: &'static [Step],
    checks: &'static [Check],
) -> Case {
    Case { id, section, level, what, steps, answer: Answer::Ordinary, checks }
}

/// A case in which the service misbehaves.
pub(crate) const fn answered(
    id: &'static str,
    section: &'static str,
    level: Level,
    what: &'static str,
    answer: Answer,
    steps: &'static [Step],
    checks: &'static [Check],
) -> Case {
    Case { id, section, level, what, steps, answer, checks }
}

/// Refused as malformed: 400, the end of the connection, nothing forwarded.
pub(crate) const REFUSED: &[Check] = &[Check::Status(&[400]), Check::Closed, Check::Nothing];
/// Refused with a status of choice, nothing forwarded.
pub(crate) const REFUSED_ANYHOW: &[Check] =
    &[Check::Status(&[400, 403, 404, 405, 411, 413, 414, 417, 421, 431, 501, 505]), Check::Nothing];
/// An ordinary answer to one request.
pub(crate) const SERVED: &[Check] = &[Check::Status(&[200]), Check::Requests(1)];
