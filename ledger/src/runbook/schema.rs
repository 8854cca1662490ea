//! The published JSON Schema of the file format, for editors and for `shape`.

use super::model::Runbook;

/// Where editors find the schema.
pub const SCHEMA_ID: &str = "https://rollbook.dev/schema/runbook.v1.json";

/// The JSON Schema (draft 2020-12) of `apiVersion: rollbook/v1`.
pub fn schema() -> serde_json::Value {
    let mut value: serde_json::Value = schemars::schema_for!(Runbook).to_value();
    if let Some(object) = value.as_object_mut() {
        object.insert("$id".to_owned(), SCHEMA_ID.into());
    }
    value
}
