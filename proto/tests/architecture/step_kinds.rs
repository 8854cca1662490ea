//! A kind of step has one file in each layer, CONTRIBUTING names every place that a new kind needs,
//! and no other place tells kinds apart.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::tree::{contains_word, root, rust, text_of};

/// The files that name each kind: they register it, so the compiler asks for a new one.
const REGISTERED: &[&str] = &[
    "ledger/src/runbook/kind/mod.rs",
    "workers/src/executor/kind.rs",
];

/// The directories with one file for each kind.
const LAYERS: &[&str] = &["ledger/src/runbook/kind/", "workers/src/executor/"];

/// The kinds as the published schema lists them: the actions of a step.
fn kinds_of_schema() -> Vec<String> {
    let schema: Value = serde_json::from_str(
        &std::fs::read_to_string(root().join("docs/runbook.schema.json")).unwrap(),
    )
    .unwrap();
    let properties = schema["$defs"]["Step"]["properties"].as_object().unwrap();
    let kinds: Vec<String> = properties
        .iter()
        .filter(|(_, property)| {
            let about = property["description"].as_str();
            about.is_some_and(|about| about.starts_with("Action: "))
        })
        .map(|(key, _)| key.clone())
        .collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    kinds
}

/// The registered kinds: key, and variant of `Action`.
fn registered() -> BTreeMap<String, String> {
    let registration = text_of(REGISTERED[0]);
    let (_, lines) = registration
        .split_once("macro_rules! with_step_kinds {")
        .unwrap();
    let (lines, _) = lines.split_once("\n}\n").unwrap();
    lines
        .lines()
        .filter_map(|line| line.trim().strip_suffix("),"))
        .map(|line| {
            let (key, variant) = line.split_once(": ").unwrap();
            let (variant, _) = variant.split_once('(').unwrap();
            (key.to_owned(), variant.to_owned())
        })
        .collect()
}

/// The places that the recipe names.
fn recipe() -> Vec<String> {
    let (_, section) = text_of("CONTRIBUTING.md")
        .split_once("\n## Add a step kind\n")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let code = section.split('`').skip(1).step_by(2);
    code.filter(|it| it.contains('/') && !it.contains(' '))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_kind_has_its_file_in_each_layer() {
    let kinds = kinds_of_schema();
    let keys: Vec<String> = registered().into_keys().collect();
    assert_eq!(keys, kinds, "the registered kinds and those of the schema");
    for layer in LAYERS {
        for kind in &kinds {
            let file = format!("{layer}{kind}.rs");
            let implements = if layer.starts_with("ledger") {
                "impl StepKind for "
            } else {
                "impl Executor for "
            };
            let count = text_of(&file).matches(implements).count();
            assert_eq!(count, 1, "{file}: `{implements}`");
        }
    }
    for source in rust() {
        let is_kind = kinds.iter().any(|kind| {
            LAYERS
                .iter()
                .any(|it| source.path == format!("{it}{kind}.rs"))
        });
        for implements in ["impl StepKind for ", "impl Executor for "] {
            assert!(
                is_kind || !source.code.contains(implements),
                "{}: a kind is implemented in the file named for it",
                source.path
            );
        }
    }
}

#[test]
fn the_recipe_names_every_place() {
    let places = recipe();
    assert!(places.len() <= 6, "{places:?}");
    for layer in LAYERS {
        let file = format!("{layer}<kind>.rs");
        assert!(places.contains(&file), "the recipe does not name {file}");
    }
    for file in REGISTERED {
        assert!(
            places.iter().any(|it| it == file),
            "the recipe does not name {file}"
        );
    }
    for place in places {
        for kind in kinds_of_schema() {
            let path = place.replace("<kind>", &kind);
            assert!(root().join(&path).exists(), "{path} is gone");
        }
    }
}

#[test]
fn only_the_registrations_tell_kinds_apart() {
    let variants: Vec<String> = registered()
        .values()
        .map(|variant| format!("Action::{variant}"))
        .collect();
    for source in rust() {
        if REGISTERED.contains(&source.path.as_str()) {
            continue;
        }
        for variant in &variants {
            assert!(
                !contains_word(&source.code, variant),
                "{} names `{variant}`; ask `StepKind` instead, or the executor",
                source.path
            );
        }
    }
}
