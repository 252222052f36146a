//! Writes `docs/reference/config.md` to standard output.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(vertice_config::gateway::reference::markdown().as_bytes())
}
