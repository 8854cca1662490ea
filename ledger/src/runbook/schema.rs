//! The JSON Schema of the file format: one for the file as it is written, which editors use, and one
//! for what remains once its parameters are substituted, which [`shape`](super::shape) uses.

use serde_json::{Map, Value, json};

use super::model::Runbook;

/// The URL of the schema for editors.
pub const SCHEMA_ID: &str = "https://rollbook.dev/schema/runbook.v1.json";

/// A text that is nothing but a parameter: only this can stand for a number or a boolean.
const WHOLE: &str = "ParameterValue";
/// A text with a parameter somewhere: it can stand for a duration or one of several words.
const WITHIN: &str = "TextWithParameter";

/// Keywords that decide which values a schema accepts; others describe it.
const DECIDING: [&str; 7] = [
    "type", "const", "enum", "pattern", "format", "minimum", "maximum",
];

/// Generates the JSON Schema (draft 2020-12) of `apiVersion: rollbook/v1` as it is written: wherever
/// a value has a type, a parameter may stand for it.
pub fn schema() -> Value {
    let mut schema = substituted();
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        for definition in definitions.values_mut() {
            with_parameters(definition);
        }
        definitions.insert(
            WHOLE.to_owned(),
            json!({
                "type": "string",
                "description": "A parameter, `${{ name }}`, whose value stands here",
                "pattern": r"^\s*\$\{\{[^{}]*\}\}\s*$",
            }),
        );
        definitions.insert(
            WITHIN.to_owned(),
            json!({
                "type": "string",
                "description": "A text with a parameter, `${{ name }}`, whose value completes it",
                // `$${{` stands for `${{` itself.
                "pattern": r"(^|[^$])\$\{\{[^{}]*\}\}",
            }),
        );
    }
    with_parameters(&mut schema);
    schema
}

/// Generates the JSON Schema of a runbook whose parameters are substituted.
pub(super) fn substituted() -> Value {
    let mut value = schemars::schema_for!(Runbook).to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("$id".to_owned(), SCHEMA_ID.into());
    }
    value
}

/// Lets a parameter stand for every typed value of this schema and of those below it.
fn with_parameters(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let below = object.get_mut("properties").and_then(Value::as_object_mut);
    for (_, property) in below.into_iter().flatten() {
        with_parameters(property);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            with_parameters(inner);
        }
    }
    // A parameter is one more alternative beside the others, not one within each: of `oneOf` only
    // one may hold.
    for key in ["oneOf", "anyOf"] {
        let branches = object.get_mut(key).and_then(Value::as_array_mut);
        for branch in branches.into_iter().flatten().filter(|b| !is_scalar(b)) {
            with_parameters(branch);
        }
    }
    if let Some(reference) = reference_for(object) {
        add_alternative(object, reference);
    }
}

fn is_scalar(schema: &Value) -> bool {
    schema
        .as_object()
        .is_some_and(|object| reference_for(object).is_some())
}

/// The kind of parameter that may stand where a schema stands; `None` if it has no type of its own,
/// or accepts any text anyway.
fn reference_for(object: &Map<String, Value>) -> Option<&'static str> {
    let branches: Vec<&Value> = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|key| object.get(*key).and_then(Value::as_array))
        .flatten()
        .collect();
    if !branches.is_empty() {
        if branches.iter().any(|branch| takes_any_text(branch)) {
            return None;
        }
        let found = branches
            .iter()
            .filter_map(|branch| branch.as_object().and_then(reference_for));
        // A text with a parameter in it may also be nothing but the parameter.
        return found.reduce(|one, other| if one == WITHIN { one } else { other });
    }
    if object.contains_key("enum") || object.contains_key("const") {
        return Some(WITHIN);
    }
    let is = |wanted: &str| match object.get("type") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(several)) => several.iter().any(|one| one == wanted),
        _ => false,
    };
    if is("string") {
        object.contains_key("pattern").then_some(WITHIN)
    } else if is("integer") || is("number") || is("boolean") {
        Some(WHOLE)
    } else {
        None
    }
}

fn takes_any_text(schema: &Value) -> bool {
    schema["type"] == "string"
        && ["pattern", "const", "enum"]
            .iter()
            .all(|key| schema.get(key).is_none())
}

fn add_alternative(object: &mut Map<String, Value>, reference: &str) {
    let parameter = json!({ "$ref": format!("#/$defs/{reference}") });
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = object.get_mut(key).and_then(Value::as_array_mut) {
            branches.push(parameter);
            return;
        }
    }
    let mut own = Map::new();
    for key in DECIDING {
        if let Some(value) = object.remove(key) {
            own.insert(key.to_owned(), value);
        }
    }
    object.insert("anyOf".to_owned(), json!([own, parameter]));
}
