//! The published schema and reference match this program.
//!
//! `ROLLBOOK_BLESS=1 cargo test -p rollbook-ledger --test integration runbook_schema` rewrites
//! them.

use std::path::Path;

use rollbook_ledger::runbook::{reference, schema};

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
