//! Named background tasks: one that panics is logged with its name instead of vanishing.

use std::future::Future;

use tokio::task::JoinHandle;

/// Spawns `task` on the current runtime.
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = tokio::spawn(task).await
            && error.is_panic()
        {
            tracing::error!(task = name, "a background task panicked; this is a defect, please report it");
        }
    })
}
