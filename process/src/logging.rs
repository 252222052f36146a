//! Logging to standard error, one line per record.

use tracing_subscriber::fmt;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors.
    Json,
}

/// Starts logging; a second call in one process changes nothing.
pub fn start(level: tracing::Level, format: LogFormat) {
    let builder = fmt().with_max_level(level).with_writer(std::io::stderr).with_target(true);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // An error means that a subscriber is set already: tests start several of our parts in one process.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(ansi).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
