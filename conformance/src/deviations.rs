//! Where our gateway is known to fail a case, and why. Such a case is shown as failing on the page and counted as skipped by
//! the test command; one that passes after all is a failure there, so that this list cannot grow stale.

/// Case, reason; of HTTP/2 the same over TLS and in plain text.
pub(crate) const KNOWN: &[(&str, &str)] = &[
    (
        "http2/5.1/11",
        "the h2 library forgets a stream that is through, and answers DATA on it with an error of the stream instead of the \
         connection. RFC 7540 5.1 asked for the latter, RFC 9113 5.1 allows it (MAY). There is no setting",
    ),
    (
        "pseudo/in-ending-trailers",
        "the h2 library takes pseudo-headers out of trailers and goes on. Nothing of them reaches a service. There is no \
         setting",
    ),
];

/// The reason why the case `id` is known to fail.
pub(crate) fn reason(id: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(case, _)| *case == id).map(|(_, reason)| *reason)
}
