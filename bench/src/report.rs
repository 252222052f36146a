//! What a scenario found, for people on the screen and in Markdown, for programs in JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::machine::Machine;

/// What one scenario found.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// What was measured, as a heading.
    pub(crate) title: String,
    /// The figures that count.
    pub(crate) figures: Vec<Figure>,
    /// What they were made from.
    pub(crate) table: Table,
    /// What a reader should know to judge them.
    pub(crate) notes: Vec<String>,
    /// Something failed that must not: the figures are not to be quoted.
    pub(crate) troubled: bool,
    /// Everything, for programs.
    pub(crate) data: Value,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: String,
    /// What was wanted and whether it was reached; `None`: nothing in particular was.
    pub(crate) goal: Option<Goal>,
}

/// What was wanted.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) text: String,
    pub(crate) reached: bool,
}

/// Rows under headings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Figure {
    /// A figure without a goal.
    pub(crate) fn plain(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into(), goal: None }
    }

    /// A figure with a goal.
    pub(crate) fn with_goal(
        what: impl Into<String>,
        value: impl Into<String>,
        text: &str,
        reached: bool,
    ) -> Self {
        let goal = Some(Goal { text: text.to_owned(), reached });
        Self { what: what.into(), value: value.into(), goal }
    }
}

impl Table {
    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let columns: Vec<String> = self.columns.iter().map(|column| (*column).to_owned()).collect();
        let rule = format!("|{}\n", "---|".repeat(columns.len()));
        self.rows.iter().fold(line(&columns) + &rule, |text, row| text + &line(row))
    }
}

/// The figures of all scenarios in one table.
pub(crate) fn summary(outcomes: &[Outcome]) -> String {
    let figures = outcomes.iter().flat_map(|outcome| &outcome.figures);
    let rows = figures.map(|figure| {
        let (text, verdict) = match &figure.goal {
            None => (String::new(), ""),
            Some(Goal { text, reached: true }) => (text.clone(), "reached"),
            Some(Goal { text, reached: false }) => (text.clone(), "MISSED"),
        };
        vec![figure.what.clone(), figure.value.clone(), text, verdict.to_owned()]
    });
    Table { columns: vec!["figure", "value", "goal", ""], rows: rows.collect() }.markdown()
}

/// Writes `NAME.json` and `NAME.md` into `folder`, and shows the latter.
pub(crate) fn write(folder: &Path, name: &str, machine: &Machine, outcome: &Outcome) -> Result<(), String> {
    let mut text = format!("# {}\n\n{}\n\n", outcome.title, machine.describe());
    if outcome.troubled {
        text.push_str("**Something failed in this run (see below): its figures are not to be quoted.**\n\n");
    }
    text.push_str(&summary(std::slice::from_ref(outcome)));
    text.push('\n');
    if !outcome.table.rows.is_empty() {
        text.push_str(&outcome.table.markdown());
        text.push('\n');
    }
    for note in &outcome.notes {
        // Writing to a String does not fail.
        let _ = writeln!(text, "* {note}");
    }
    println!("\n{text}");
    let whole = json!({ "machine": machine, "outcome": outcome });
    let put = |ending: &str, text: &str| {
        let path = folder.join(format!("{name}.{ending}"));
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    put("json", &format!("{whole:#}\n"))?;
    put("md", &text)
}
