//! Size limits for texts and lists of a plan: they end up in events, view rows and screens, all of
//! which are bounded.

use prost::Message;
use serde_json::Value;

use super::super::diagnostic::{Code, Path, Segment};
use super::super::plan::outline_of;
use super::Linter;

/// Maximum length of a key, name or title, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// Maximum length of a text for people, and of any text not listed below, in bytes.
const MAX_TEXT_BYTES: usize = 4_096;

/// Maximum length of a text with several paragraphs, in bytes.
const MAX_LONG_TEXT_BYTES: usize = 16 * 1024;

/// Maximum length of a command, script or query within a plan, in bytes; an inlined file may be
/// longer.
const MAX_CODE_BYTES: usize = 64 * 1024;

/// Maximum number of entries of a list or map.
const MAX_ENTRIES: usize = 1_000;

/// Maximum number of figures that one step measures.
const MAX_MEASURES: usize = 150;

/// Maximum size of the opening event's phases, steps and parameters, in bytes.
const MAX_OPENING_BYTES: usize = 56 * 1024;

/// Fields that are names: they are keys of rows or appear in tables.
const NAMES: [&str; 16] = [
    "id",
    "name",
    "title",
    "version",
    "owner",
    "unit",
    "label",
    "key",
    "role",
    "metric",
    "runs_on",
    "source",
    "channel",
    "audience",
    "responsible",
    "environment",
];

/// Fields that are texts with several paragraphs.
const LONG: [&str; 4] = ["body", "description", "instructions", "manual"];

/// Fields that are read by machines.
const CODE: [&str; 9] = [
    "command",
    "default",
    "deploy",
    "inventory_query",
    "model",
    "query",
    "revert",
    "verify",
    "where",
];

pub(super) fn check(linter: &mut Linter<'_>) {
    let Ok(value) = serde_json::to_value(linter.runbook) else {
        return; // a number that JSON cannot hold is the plan's finding
    };
    walk(linter, &value, &Path::root());
    opening(linter);
}

fn last_key(path: &Path) -> &str {
    path.segments()
        .iter()
        .rev()
        .find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
        .unwrap_or_default()
}

fn walk(linter: &mut Linter<'_>, value: &Value, path: &Path) {
    match value {
        Value::String(text) => {
            let key = last_key(path);
            let limit = if CODE.contains(&key) {
                MAX_CODE_BYTES
            } else if LONG.contains(&key) {
                MAX_LONG_TEXT_BYTES
            } else if NAMES.contains(&key) {
                MAX_NAME_BYTES
            } else {
                MAX_TEXT_BYTES
            };
            unseen(linter, path, key, text);
            // An inlined file is bounded as a part of the plan.
            let is_inlined = key == "text";
            if text.len() > limit && !is_inlined {
                too_large(
                    linter,
                    path,
                    format!("{} bytes, at most {limit}", text.len()),
                );
            }
        }
        Value::Array(items) => {
            many(linter, path, items.len());
            for (i, item) in items.iter().enumerate() {
                walk(linter, item, &path.index(i));
            }
        }
        Value::Object(entries) => {
            many(linter, path, entries.len());
            for (key, value) in entries {
                let at = path.key(key);
                if key.len() > MAX_NAME_BYTES {
                    let found = format!("a name of {} bytes, at most {MAX_NAME_BYTES}", key.len());
                    too_large(linter, path, found);
                }
                walk(linter, value, &at);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reports characters that move a terminal's cursor or change the text direction, because they can
/// make a text look like another one, and NUL, which no program accepts.
fn unseen(linter: &mut Linter<'_>, path: &Path, key: &str, text: &str) {
    let is_program = CODE.contains(&key) || key == "text";
    let is_refused = |c: char| match c {
        '\0' => true,
        _ if is_program => false,
        '\n' => key == "title",
        '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if let Some(found) = text.chars().find(|c| is_refused(*c)) {
        linter.error(
            Code::Unseen,
            path,
            format!("it holds U+{:04X}, which cannot be seen", u32::from(found)),
            None,
        );
    }
}

fn many(linter: &mut Linter<'_>, path: &Path, entries: usize) {
    let limit = match last_key(path) {
        "measure" => MAX_MEASURES,
        _ => MAX_ENTRIES,
    };
    if entries > limit {
        too_large(linter, path, format!("{entries} entries, at most {limit}"));
    }
}

fn too_large(linter: &mut Linter<'_>, path: &Path, found: String) {
    linter.error(
        Code::TooLarge,
        path,
        format!("it has {found} are allowed"),
        None,
    );
}

/// Checks the size of the event that opens a rollout.
fn opening(linter: &mut Linter<'_>) {
    let outline = outline_of(linter.runbook).encoded_len();
    let params: usize = linter
        .params
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    if outline + params > MAX_OPENING_BYTES {
        too_large(
            linter,
            &Path::root(),
            format!(
                "{} bytes of ids, titles and values of parameters, at most {MAX_OPENING_BYTES}",
                outline + params
            ),
        );
    }
}
