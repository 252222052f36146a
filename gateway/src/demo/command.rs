//! What a person types while the demo runs. Pure.

/// A typed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `stop N`
    Stop(usize),
    /// `kill N`
    Kill(usize),
    /// `start N`
    Start(usize),
    /// `registry stop`
    StopRegistry,
    /// `registry start`
    StartRegistry,
    /// `gateway restart`
    RestartGateway,
    /// `status`
    Status,
    /// `help`
    Help,
    /// `quit`
    Quit,
}

/// The commands on one line, for the screen and for who mistypes.
pub(super) const OFFERED: &str =
    "stop N | kill N | start N | registry stop | registry start | gateway restart | status | help | quit";

impl Command {
    /// Nothing for an empty line.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let command = match words.as_slice() {
            [] => return Ok(None),
            ["stop", number] => Self::Stop(instance(number)?),
            ["kill", number] => Self::Kill(instance(number)?),
            ["start", number] => Self::Start(instance(number)?),
            ["registry", "stop"] => Self::StopRegistry,
            ["registry", "start"] => Self::StartRegistry,
            ["gateway", "restart"] => Self::RestartGateway,
            ["status"] => Self::Status,
            ["help" | "?"] => Self::Help,
            ["quit" | "exit" | "q"] => Self::Quit,
            _ => return Err(format!("not known: {:?}. Known: {OFFERED}", line.trim())),
        };
        Ok(Some(command))
    }
}

fn instance(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| format!("{word:?} is no number of an instance, as in: stop 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_understood() {
        for (line, command) in [
            ("stop 1", Command::Stop(1)),
            ("  kill  2 ", Command::Kill(2)),
            ("start 3\r", Command::Start(3)),
            ("registry stop", Command::StopRegistry),
            ("registry start", Command::StartRegistry),
            ("gateway restart", Command::RestartGateway),
            ("status", Command::Status),
            ("help", Command::Help),
            ("q", Command::Quit),
        ] {
            assert_eq!(Command::parse(line), Ok(Some(command)), "{line}");
        }
        assert_eq!(Command::parse("  "), Ok(None));
    }

    #[test]
    fn what_is_not_understood_is_answered_with_what_is() {
        for line in ["stop", "stop 1 2", "registry", "gateway", "halt"] {
            assert!(Command::parse(line).unwrap_err().contains(OFFERED), "{line}");
        }
        assert!(Command::parse("stop osint").unwrap_err().contains("stop 1"));
    }
}
