//! `[access_log]`: where a line per request goes.

use std::path::PathBuf;

use super::AccessLogConfig;
use crate::keys::{Key, names};
use crate::reader::{Reading, Said, Section};
use crate::values;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "file",
        kind: "path",
        default: None,
        absent: "no file",
        example: "\"/var/log/vertice/access.log\"",
        what: "One JSON line per request, appended to this file.",
        why: "",
    },
    Key {
        name: "stdout",
        kind: "true or false",
        default: Some("false"),
        absent: "",
        example: "true",
        what: "One JSON line per request on standard output. Not together with `file`.",
        why: "Off unless asked for: a line per request costs.",
    },
];

/// Where access-log lines go, by the file.
pub(super) fn read(reading: &mut Reading<'_>, root: &Section<'_, '_>) -> Option<AccessLogConfig> {
    let section = root.section(reading, "access_log", &names(KEYS))?;
    let file: Option<Said<PathBuf>> = section.value(reading, "file", values::path);
    let stdout = section.value(reading, "stdout", values::boolean);
    if section.place_of("file").is_none() && section.place_of("stdout").is_none() {
        reading.missing(
            &section.at,
            "`access_log` says nothing",
            "write file = \"/path/access.log\" or stdout = true",
        );
    }
    match (file, stdout.map(|said| (said.value, said.at))) {
        (Some(_), Some((true, at))) => {
            reading.mistake(
                &at,
                "`access_log.stdout` and `access_log.file` are both given",
                "keep one of the two",
            );
            None
        }
        (Some(file), Some((false, _)) | None) => Some(AccessLogConfig::File(file.value)),
        (None, Some((true, _))) => Some(AccessLogConfig::Stdout),
        (None, Some((false, _)) | None) => None,
    }
}
