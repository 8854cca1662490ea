//! Generates the Markdown reference of the file format from the JSON Schema and the rules.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::diagnostic::Code;
use super::schema;

/// The first sections, in order; all other types follow by name.
const FIRST: [&str; 4] = ["Phase", "Step", "Gate", "SignOffRule"];

/// Returns the whole document.
pub fn markdown() -> String {
    let schema = schema::substituted();
    let mut out = String::from(
        "# Runbook reference\n\n\
         Made from the schema in `docs/runbook.schema.json`; do not edit. A runbook is one YAML 1.2\n\
         document of at most 1 MiB. Unknown keys are errors. `${{ name }}` in any text becomes the\n\
         value of the parameter (`$${{` stands for `${{`); a text that is nothing but one parameter\n\
         can stand for a number, `true` or `false`. Durations are written `90s`, `10m`, `1h30m`, `7d`, `-7d`. Paths are\n\
         relative to the runbook and stay inside its repository.\n\n\
         Expressions: numbers, names, `true`, `false`, `+ - * / %`, `== != < <= > >=`, `&& || !`,\n\
         parentheses. A missing measurement decides nothing: `a > 0 || b > 0` holds when `a` alone\n\
         makes it hold, and has no answer when it depends on the missing one. Numbers are exact\n\
         decimals of up to 28 digits; a quotient is rounded half to even at the twelfth place. A\n\
         division by zero, or a result of more digits, has no answer: inconclusive.\n\n\
         Figures stand where a number can, in thresholds, gates, `decide` and `success`:\n\n\
         | Figure | Is |\n|---|---|\n\
         | `delta(NAME)` | What was added to a cumulative counter since its first value: in a threshold that of the watch, elsewhere that of the rollout. |\n\
         | `rate(NAME, UNIT)` | What was added within the last `second` (the default), `minute`, `hour` or `day`, never extrapolated from less. |\n\
         | `share(NAME, TOTAL)` | 100 × `delta(NAME)` / `delta(TOTAL)`: errors in percent of requests. No data while TOTAL has not grown. |\n\
         | `avg(NAME)`, `min(NAME)`, `max(NAME)` | Mean, smallest and largest of the samples that the attempt which measured NAME last took, in a threshold so far. |\n\
         | `p95(NAME)` | Of the same samples the smallest that at least 95 of 100 do not exceed (nearest rank). |\n\
         | `baseline(NAME)` | What the first step of the plan that has measured NAME ended with: what was there before the change. Also in `expect`. |\n\n\
         In a threshold and a `target` the measured number is `value`: `delta(value)`,\n\
         `share(value, requests)`, `value > 1.1 * baseline(value)`; TOTAL is sampled by the same watch,\n\
         where `- {metric: requests}` alone samples without judging. A counter's value below the one\n\
         before it is one that began again at zero. Growth needs two values; with one it is no data,\n\
         and in a watch the first sample passes, as one does until TOTAL has grown; a watch that\n\
         judged nothing else is inconclusive. `avg min max p95` rest on every sample: with one that\n\
         has no data, or was cut, they are no data, unless the threshold says `no_data: pass`. A step\n\
         that takes no samples has one. A baseline whose step came to no conclusion is no data, and\n\
         beside NAME itself it is that of another step.\n\n\
         For editors: `# yaml-language-server: $schema=docs/runbook.schema.json`\n\n\
         ## Runbook\n\n",
    );
    section(&mut out, &schema, &schema);
    let empty = Map::new();
    let definitions = schema
        .get("$defs")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let first = FIRST.iter().copied();
    let others = definitions
        .keys()
        .map(String::as_str)
        .filter(|name| !FIRST.contains(name));
    for name in first.chain(others) {
        if let Some(definition) = definitions.get(name) {
            let _ = write!(out, "## {name}\n\n");
            section(&mut out, definition, &schema);
        }
    }
    out.push_str("## Findings\n\nWhat `rollbook lint` reports, as `file:line:column: error CODE: …`.\n\n| Code | What is wrong | What to do |\n|---|---|---|\n");
    for code in Code::ALL {
        let _ = writeln!(
            out,
            "| {code} | {} | {} |",
            cell(code.title()),
            cell(code.remedy())
        );
    }
    out
}

fn section(out: &mut String, definition: &Value, schema: &Value) {
    if let Some(text) = definition.get("description").and_then(Value::as_str) {
        let _ = write!(out, "{text}\n\n");
    }
    if let Some(properties) = definition.get("properties").and_then(Value::as_object) {
        let required: Vec<&str> = definition
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        out.push_str("| Key | Type | Meaning |\n|---|---|---|\n");
        for (name, property) in properties {
            let mut meaning = description(property, schema);
            if required.contains(&name.as_str()) {
                meaning.push_str(" **Required.**");
            } else if let Some(default) = property.get("default").filter(|d| is_plain(d)) {
                let _ = write!(meaning, " Default `{}`.", plain(default));
            }
            let _ = writeln!(
                out,
                "| `{name}` | {} | {} |",
                kind(property),
                cell(meaning.trim())
            );
        }
        out.push('\n');
        return;
    }
    let branches: Vec<&Value> = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|key| definition.get(*key).and_then(Value::as_array))
        .flatten()
        .collect();
    if !branches.is_empty() {
        out.push_str("| Value | Meaning |\n|---|---|\n");
        for branch in branches {
            let _ = writeln!(
                out,
                "| {} | {} |",
                value(branch),
                cell(&description(branch, schema))
            );
        }
        out.push('\n');
    }
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn description(property: &Value, schema: &Value) -> String {
    let own = property.get("description").and_then(Value::as_str);
    let referred = || {
        let pointer = property.get("$ref")?.as_str()?.strip_prefix('#')?;
        schema.pointer(pointer)?.get("description")?.as_str()
    };
    own.or_else(referred).unwrap_or("").to_owned()
}

/// Formats the type of a value, with links to the types of this document.
fn kind(property: &Value) -> String {
    if let Some(name) = reference(property) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = property.get(key).and_then(Value::as_array) {
            let kinds: Vec<String> = branches.iter().map(kind).filter(|k| k != "null").collect();
            return kinds.join(" or ");
        }
    }
    let types: Vec<&str> = match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "any".to_owned(),
    };
    let kinds: Vec<String> = types
        .into_iter()
        .filter(|t| *t != "null" || property.get("type").is_some_and(Value::is_string))
        .map(|t| match t {
            "array" => format!(
                "list of {}",
                property.get("items").map_or("any".to_owned(), kind)
            ),
            "object" => match property.get("additionalProperties") {
                Some(inner @ Value::Object(_)) => format!("name → {}", kind(inner)),
                _ => "map".to_owned(),
            },
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "boolean" => "true/false".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    kinds.join(" or ")
}

fn reference(property: &Value) -> Option<&str> {
    property.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Formats one alternative of a type.
fn value(branch: &Value) -> String {
    if let Some(word) = branch.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    if let Some(properties) = branch.get("properties").and_then(Value::as_object) {
        let keys: Vec<String> = properties
            .iter()
            .map(|(name, property)| format!("`{name}:` {}", kind(property)))
            .collect();
        return keys.join(", ");
    }
    kind(branch)
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
