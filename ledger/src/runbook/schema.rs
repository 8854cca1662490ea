//! The published JSON Schema of the file format, used by editors and by `shape`.

use super::model::Runbook;

/// The URL of the schema for editors.
pub const SCHEMA_ID: &str = "https://rollbook.dev/schema/runbook.v1.json";

/// Generates the JSON Schema (draft 2020-12) of `apiVersion: rollbook/v1`.
pub fn schema() -> serde_json::Value {
    let mut value: serde_json::Value = schemars::schema_for!(Runbook).to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("$id".to_owned(), SCHEMA_ID.into());
    }
    value
}
