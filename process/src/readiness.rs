//! Ready when nothing holds it back. Each part that is not there yet holds a named guard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The shared list of what is still missing. Empty: ready.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    missing: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

/// Holds readiness back until dropped.
#[derive(Debug)]
pub struct NotReady {
    readiness: Readiness,
    what: &'static str,
}

impl Readiness {
    /// Not ready until the guard is dropped; `what` is shown to who asks.
    pub fn hold(&self, what: &'static str) -> NotReady {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        *missing.entry(what).or_default() += 1;
        NotReady { readiness: self.clone(), what }
    }

    /// What is missing, in alphabetical order; empty when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Drop for NotReady {
    fn drop(&mut self) {
        let mut missing = self.readiness.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = missing.get_mut(self.what) {
            *count -= 1;
            if *count == 0 {
                missing.remove(self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_guard_of_each_name_is_gone() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.hold("table"), readiness.hold("table"));
        let _ = (drop(first), assert_eq!(readiness.missing(), ["table"]));
        drop(second);
        assert!(readiness.missing().is_empty());
    }
}
