//! Where our gateway is known to fail a case, and why. Such a case is shown as failing on the page and counted as skipped by
//! the test command; one that passes after all is a failure there, so that this list cannot grow stale.

/// Case, reason; of HTTP/2 the same over TLS and in plain text.
pub(crate) const KNOWN: &[(&str, &str)] = &[];

/// The reason why the case `id` is known to fail.
pub(crate) fn reason(id: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(case, _)| *case == id).map(|(_, reason)| *reason)
}
