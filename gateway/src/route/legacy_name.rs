//! The names that clients of the original gateway use in `/v2/{service}/`.
//!
//! `OSINT_SERVICE_URL`, `OSINT` and `osint_service` all meant the same service there. A name in lower case is taken as it
//! is; one all in upper case loses its suffixes, goes through a table of exceptions, and else becomes lower case with
//! `_service`.

use std::borrow::Cow;

/// Names whose registered form does not follow the rule: (bare upper-case name, registered name).
const EXCEPTIONS: [(&str, &str); 6] = [
    ("IP_INTELLIGENCE", "ip_intel_service"),
    ("MAXIMUS_ORCHESTRATOR", "maximus_orchestrator_service"),
    ("MAXIMUS_PREDICT", "maximus_predict_service"),
    ("MAXIMUS_EUREKA", "maximus_eureka_service"),
    ("REFLEX_TRIAGE_ENGINE", "reflex_triage_engine"),
    ("HOMEOSTATIC_REGULATION", "homeostatic_regulation"),
];

/// The registered name that `name` stands for.
pub fn resolve(name: &str) -> Cow<'_, str> {
    let upper = name.bytes().any(|b| b.is_ascii_uppercase()) && !name.bytes().any(|b| b.is_ascii_lowercase());
    if !upper {
        return Cow::Borrowed(name);
    }
    // Every occurrence goes, as in the original, not only the last.
    let bare = name.replace("_URL", "").replace("_ENDPOINT", "").replace("_SERVICE", "");
    let exception = EXCEPTIONS.iter().find(|(from, _)| *from == bare);
    Cow::Owned(
        exception
            .map_or_else(|| format!("{}_service", bare.to_ascii_lowercase()), |(_, to)| (*to).to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_original() {
        for (name, service) in [
            ("osint_service", "osint_service"),
            ("mixed_Case", "mixed_Case"),
            ("OSINT", "osint_service"),
            ("OSINT_SERVICE", "osint_service"),
            ("OSINT_SERVICE_URL", "osint_service"),
            ("OSINT_ENDPOINT", "osint_service"),
            ("IP_INTELLIGENCE_SERVICE_URL", "ip_intel_service"),
            ("MAXIMUS_EUREKA_URL", "maximus_eureka_service"),
            ("REFLEX_TRIAGE_ENGINE_URL", "reflex_triage_engine"),
            ("HOMEOSTATIC_REGULATION", "homeostatic_regulation"),
            ("123", "123"),
        ] {
            assert_eq!(resolve(name), service, "{name}");
        }
    }
}
