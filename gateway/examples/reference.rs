//! Writes a reference page to standard output: `errors` or `metrics`.

use std::io::Write as _;

use vertice_gateway::reference;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = match std::env::args().nth(1).as_deref() {
        Some("errors") => reference::errors(),
        Some("metrics") => reference::metrics()?,
        _ => return Err("say which page: errors or metrics".into()),
    };
    Ok(std::io::stdout().write_all(page.as_bytes())?)
}
