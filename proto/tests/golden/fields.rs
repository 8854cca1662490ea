//! Field numbers, names and types never change; every field has an example.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::Value;

use crate::examples::examples;
use crate::files::{blessing, directory, golden};

const FILE: &str = "fields.txt";
const PACKAGE: &str = "rollbook.v1";

fn descriptors() -> FileDescriptorSet {
    let bytes: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    FileDescriptorSet::decode(bytes).unwrap()
}

fn messages() -> Vec<DescriptorProto> {
    descriptors()
        .file
        .into_iter()
        .filter(|file| file.package() == PACKAGE)
        .flat_map(|file| file.message_type)
        .collect()
}

/// `Commit 1 id string`; map fields as `map<string, uint64>`, enum values as
/// `Verdict 1 PASS value`.
fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages() {
        for field in &message.field {
            lines.push(format!(
                "{} {} {} {}",
                message.name(),
                field.number(),
                field.name(),
                type_of(&message, field)
            ));
        }
    }
    for file in descriptors()
        .file
        .iter()
        .filter(|file| file.package() == PACKAGE)
    {
        for kind in &file.enum_type {
            for value in &kind.value {
                lines.push(format!(
                    "{} {} {} value",
                    kind.name(),
                    value.number(),
                    value.name()
                ));
            }
        }
    }
    lines
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => {
            let name = field.type_name().trim_start_matches('.');
            name.strip_prefix("rollbook.v1.").unwrap_or(name).to_owned()
        }
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    if let Some(entry) = map_entry(message, field) {
        let types: Vec<_> = entry
            .field
            .iter()
            .map(|part| type_of(entry, part))
            .collect();
        return format!("map<{}>", types.join(", "));
    }
    if field.proto3_optional() {
        format!("optional {name}")
    } else if field.oneof_index.is_some() {
        format!("oneof {name}")
    } else if field.label() == Label::Repeated {
        format!("repeated {name}")
    } else {
        name
    }
}

fn map_entry<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    message.nested_type.iter().find(|nested| {
        nested
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
            && field
                .type_name()
                .ends_with(&format!(".{}.{}", message.name(), nested.name()))
    })
}

#[test]
fn no_field_and_no_enum_value_has_changed() {
    let current = lines();
    let recorded = golden(FILE, &(current.join("\n") + "\n"));
    let recorded: Vec<_> = recorded.lines().collect();
    let present: BTreeSet<_> = current.iter().map(String::as_str).collect();
    for line in &recorded {
        assert!(
            present.contains(line),
            "`{line}` was renamed, renumbered, retyped or removed; fields are only ever added"
        );
    }
    let known: BTreeSet<_> = recorded.iter().copied().collect();
    let new: Vec<_> = current
        .iter()
        .filter(|line| !known.contains(line.as_str()))
        .collect();
    for line in &new {
        let key = |line: &str| line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(
            !recorded.iter().any(|old| key(old) == key(line)),
            "`{line}` takes a number that is in use"
        );
    }
    if blessing() {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(directory().join(FILE))
            .unwrap();
        for line in &new {
            writeln!(file, "{line}").unwrap();
        }
    } else {
        assert!(
            new.is_empty(),
            "new: {new:#?}; record them with ROLLBOOK_BLESS=1"
        );
    }
}

#[test]
fn every_field_of_every_message_is_set_in_some_example() {
    let messages: BTreeMap<_, _> = messages()
        .into_iter()
        .map(|message| (message.name().to_owned(), message))
        .collect();
    let mut filled = BTreeSet::new();
    for example in examples() {
        let json = serde_json::to_value(&example.commit).unwrap();
        note_filled("Commit", &json, &messages, &mut filled);
    }
    for (name, message) in &messages {
        for field in &message.field {
            assert!(
                filled.contains(&(name.clone(), field.json_name().to_owned())),
                "no example fills {name}.{}",
                field.name()
            );
        }
    }
}

/// Proto3 JSON omits default values, so what is present is filled.
fn note_filled(
    name: &str,
    json: &Value,
    messages: &BTreeMap<String, DescriptorProto>,
    filled: &mut BTreeSet<(String, String)>,
) {
    let (Some(message), Some(object)) = (messages.get(name), json.as_object()) else {
        return;
    };
    for (key, value) in object {
        let field = message
            .field
            .iter()
            .find(|field| field.json_name() == key)
            .unwrap_or_else(|| panic!("{name} shows `{key}`, which is none of its fields"));
        filled.insert((name.to_owned(), key.clone()));
        let inner = field.type_name().rsplit('.').next().unwrap_or_default();
        if let Some(entry) = map_entry(message, field) {
            let of = entry.field.iter().find(|field| field.name() == "value");
            let of = of.map_or("", |field| field.type_name());
            let of = of.rsplit('.').next().unwrap_or_default();
            for item in value.as_object().into_iter().flatten() {
                note_filled(of, item.1, messages, filled);
            }
            continue;
        }
        match value {
            Value::Array(items) => items
                .iter()
                .for_each(|item| note_filled(inner, item, messages, filled)),
            other => note_filled(inner, other, messages, filled),
        }
    }
}

#[test]
fn every_event_has_an_example() {
    let with_example: BTreeSet<_> = examples()
        .iter()
        .flat_map(|example| &example.commit.events)
        .filter_map(|event| event.kind.as_ref().map(crate::examples::name))
        .collect();
    let event = messages()
        .into_iter()
        .find(|message| message.name() == "Event")
        .unwrap();
    for field in &event.field {
        assert!(
            with_example.contains(field.name()),
            "{} has no example",
            field.name()
        );
    }
}
