//! What policies cost: CPU time of a request with them and without, and how right a limit is that gateways share in a real Redis,
//! also while that stands still or is gone.

mod cost;
mod shared;

use serde_json::json;

use crate::cli::Options;
use crate::programs::Programs;
use crate::report::Outcome;

/// All of it in one report.
pub(crate) async fn run(programs: &Programs, options: &Options) -> Result<Outcome, String> {
    let cost = cost::run(programs, options).await?;
    let shared = shared::run(programs).await?;
    Ok(Outcome {
        title: "Policies".into(),
        troubled: cost.troubled || shared.troubled,
        figures: cost.figures.into_iter().chain(shared.figures).collect(),
        table: shared.table,
        notes: cost.notes.into_iter().chain(shared.notes).collect(),
        data: json!({ "cost": cost.data, "shared": shared.data }),
    })
}
