//! `vertice-gateway demo`.

/// Runs the demo.
pub async fn run(self_check: bool) -> Result<(), String> {
    let _ = self_check;
    Err("not there yet".into())
}
