//! The limit on open files: every connection is one, here and in what is started, which inherits the limit.

/// Raises it to `wanted`.
pub(crate) fn raise_limit(wanted: u64) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        let most = limit.maximum.map_or("no".to_owned(), |most| most.to_string());
        format!("{wanted} files cannot be opened at once ({error}; at most {most}): see ulimit -Hn")
    })
}
