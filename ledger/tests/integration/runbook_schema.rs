//! The published schema and reference match this program.
//!
//! `ROLLBOOK_BLESS=1 cargo test -p rollbook-ledger --test integration runbook_schema` rewrites
//! them.

use std::collections::BTreeMap;
use std::path::Path;

use boon::{Compiler, Schemas};
use rollbook_ledger::runbook::{NoFiles, Origin, Severity, inspect, reference, schema};

fn is_current(name: &str, wanted: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    if std::env::var_os("ROLLBOOK_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap();
    assert!(
        found == wanted,
        "docs/{name} is not current; run this test with ROLLBOOK_BLESS=1"
    );
}

#[test]
fn the_schema_is_current() {
    let mut text = serde_json::to_string_pretty(&schema::schema()).unwrap();
    text.push('\n');
    is_current("runbook.schema.json", &text);
}

#[test]
fn the_reference_is_current() {
    is_current("runbook-reference.md", &reference::markdown());
}

/// A runbook with one step more: the text of a file, and the same as JSON, for the schema.
fn with_step(step: &str) -> (String, serde_json::Value) {
    let text = format!(
        r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {{name: typed, version: "1.0", owner: tests}}
environments: {{local: {{protected: false}}}}
params:
  span: {{description: A duration., default: 90s}}
  number: {{description: A number., default: "3"}}
  truth: {{description: A condition., default: "true"}}
  word: {{description: A word., default: configuration}}
phases:
  - id: "1"
    title: One
    steps:
      - {{id: "1.1", title: "${{{{ span }}}} ${{{{ number }}}} ${{{{ truth }}}} ${{{{ word }}}}", {step}}}
"#
    );
    let json = yaml(&text);
    (text, json)
}

/// YAML 1.2 as editors read it.
fn yaml(text: &str) -> serde_json::Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap()
}

fn findings(text: &str) -> Vec<String> {
    let origin = Origin::new("typed.yaml", &NoFiles);
    let loaded = inspect(text, &origin, &BTreeMap::new(), None);
    let errors = loaded.diagnostics.iter();
    let errors = errors.filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

/// What a validator that knows nothing of this program says; it checks the schema itself too.
fn problem(document: &serde_json::Value) -> Option<String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = schema::schema();
    compiler.add_resource(schema::SCHEMA_ID, schema).unwrap();
    let compiled = compiler.compile(schema::SCHEMA_ID, &mut schemas).unwrap();
    let judged = schemas.validate(document, compiled);
    judged.err().map(|error| format!("{error:#}"))
}

#[test]
fn a_validator_accepts_every_shipped_runbook() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
    let mut seen = 0;
    for entry in std::fs::read_dir(shipped).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|kind| kind == "yaml") {
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(problem(&yaml(&text)), None, "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 1);
}

#[test]
fn a_parameter_stands_for_a_value_of_any_type() {
    for step in [
        r#"wait: {for: "${{ span }}"}"#,
        r#"wait: {for: "1h${{ number }}m"}"#,
        r#"run: {command: "true"}, changes: "${{ word }}", verify: {run: {command: "true"}}, undo: none"#,
        r#"run: {command: "true"}, changes: nothing, timeout: " ${{ span }} ""#,
        r#"run: {command: "true"}, changes: nothing, critical: "${{ truth }}""#,
        r#"run: {command: "true"}, changes: nothing, retry: {attempts: "${{ number }}", delay: "${{span}}"}"#,
        r#"run: {command: "true"}, changes: nothing, on_fail: "block""#,
    ] {
        let (text, json) = with_step(step);
        assert_eq!(findings(&text), [""; 0], "{step}");
        assert_eq!(problem(&json), None, "{step}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_lint_and_by_the_schema() {
    for step in [
        r#"wait: {for: soon}"#,
        r#"wait: {for: "$${{ span }}"}"#,
        r#"wait: {for: 90}"#,
        r#"run: {command: "true"}, changes: something"#,
        r#"run: {command: "true"}, changes: true"#,
        r#"run: {command: "true"}, changes: nothing, critical: "true""#,
        r#"run: {command: "true"}, changes: nothing, retry: {attempts: "3"}"#,
        r#"run: {command: "true"}, changes: nothing, retry: {attempts: "1${{ number }}x"}"#,
        r#"run: {command: "true"}, changes: nothing, retry: "${{ number }}""#,
        r#"run: {command: "true"}, changes: nothing, tiemout: 5s"#,
    ] {
        let (text, json) = with_step(step);
        assert_ne!(findings(&text), [""; 0], "{step}");
        assert_ne!(problem(&json), None, "{step}");
    }
}
