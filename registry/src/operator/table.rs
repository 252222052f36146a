//! Leases as a table for people. Pure: it reads what `GET /v1/leases` answers.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: [&str; 7] = ["SERVICE", "INSTANCE", "STATUS", "URL", "BEAT", "EXPIRES", "NOTES"];

/// The table, with a line before it that says how the registry is.
pub(super) fn leases(answer: &Value) -> String {
    let rows: Vec<[String; 7]> =
        answer.get("leases").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    let mut text = head(answer);
    let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if !rows.is_empty() {
        text.push_str(&align(&rows));
    }
    let total = number(answer, "total").unwrap_or(shown);
    if total > shown {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(text, "{} more; name a service to see them", total - shown);
    }
    text
}

fn head(answer: &Value) -> String {
    let state = string(answer, "state").unwrap_or("unknown");
    let preserving =
        number(answer, "preserving_for_s").map(|s| format!(" for {}", age(s))).unwrap_or_default();
    let revision = number(answer, "revision").unwrap_or_default();
    let total = number(answer, "total").unwrap_or_default();
    format!("{state}{preserving}, revision {revision}, {total} instances\n")
}

fn row(lease: &Value) -> [String; 7] {
    let instance = lease.get("instance").unwrap_or(&Value::Null);
    let text = |key| string(instance, key).unwrap_or("?").to_owned();
    let status = match string(instance, "override") {
        Some(word) => format!("{word} (operator; owner: {})", text("status")),
        None => text("status"),
    };
    let aged = |key| number(lease, key).map_or_else(|| "?".to_owned(), age);
    [
        text("service"),
        text("instance_id"),
        status,
        text("url"),
        format!("{} ago", aged("beat_age_s")),
        format!("in {}", aged("expires_in_s")),
        notes(lease),
    ]
}

fn notes(lease: &Value) -> String {
    let mut notes = Vec::new();
    for (key, words) in [
        ("stale_for_s", "stale for"),
        ("drains_in_s", "goes in"),
        ("quarantined_for_s", "flaps, left alone for"),
    ] {
        notes.extend(number(lease, key).map(|s| format!("{words} {}", age(s))));
    }
    for reject in lease.get("rejects").and_then(Value::as_array).into_iter().flatten() {
        let (gateway, reason) = (string(reject, "gateway"), string(reject, "reason"));
        notes.push(format!("rejected by {}: {}", gateway.unwrap_or("?"), reason.unwrap_or("?")));
    }
    notes.join("; ")
}

/// Columns as wide as their widest cell, two blanks between them, none at the end of a line.
fn align(rows: &[[String; 7]]) -> String {
    let head = HEAD.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    let mut text = String::new();
    for line in lines() {
        let mut cells = String::new();
        for (column, cell) in line.iter().enumerate() {
            let width = lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
            let _ = write!(cells, "{:width$}  ", plain(cell), width = width.unwrap_or(0));
        }
        text.push_str(cells.trim_end());
        text.push('\n');
    }
    text
}

/// Without what could move the cursor of a terminal.
fn plain(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Seconds as a person says them.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn string<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key)?.as_str()
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_a_person_can_read() {
        let lease = |id: &str, more: Value| {
            let mut lease = json!({ "instance": { "service": "osint_service", "instance_id": id, "status": "up", "url": "http://h:80" }, "beat_age_s": 3, "expires_in_s": 72 });
            lease.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            lease
        };
        let mut overridden =
            lease("b:1", json!({ "rejects": [{ "gateway": "g1", "reason": "a\u{1b}[2Jb" }] }));
        overridden["instance"]["override"] = json!("down");
        let answer = json!({ "state": "preserving", "preserving_for_s": 130, "revision": 9, "total": 12,
            "leases": [lease("a:1", json!({ "stale_for_s": 90, "quarantined_for_s": 20 })), overridden] });
        let wanted = "\
preserving for 2 min, revision 9, 12 instances
SERVICE        INSTANCE  STATUS                      URL          BEAT     EXPIRES  NOTES
osint_service  a:1       up                          http://h:80  3 s ago  in 72 s  stale for 90 s; flaps, left alone for 20 s
osint_service  b:1       down (operator; owner: up)  http://h:80  3 s ago  in 72 s  rejected by g1: a?[2Jb
10 more; name a service to see them
";
        assert_eq!(leases(&answer), wanted);
    }

    #[test]
    fn what_is_missing_or_odd_is_shown_as_such() {
        assert_eq!(leases(&json!({})), "unknown, revision 0, 0 instances\n");
        assert!(leases(&json!({ "leases": [7] })).contains('?'));
        for (seconds, words) in [(119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(age(seconds), words);
        }
    }
}
