//! Compiles the `.proto` files with protox (pure Rust, no protoc), generates proto3 JSON, and takes
//! event names from their definitions.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=rollbook");
    let descriptors = protox::Compiler::new(["."])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(["rollbook/v1/commit.proto"])?
        .encode_file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("event_names.rs"), event_names(&descriptors)?)?;
    let file = out.join("descriptors.bin");
    std::fs::write(&file, &descriptors)?;
    prost_build::Config::new()
        .file_descriptor_set_path(&file)
        .skip_protoc_run()
        .btree_map(["."])
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_protos(&["rollbook/v1/commit.proto"], &["."])?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .btree_map(["."])
        .build(&[".rollbook.v1"])?;
    Ok(())
}

/// `EVENT_NAMES`, `Kind::field_name` and `Kind::message_name`: the name of an event in the oneof,
/// and the name of its message.
fn event_names(descriptors: &[u8]) -> Result<String, Box<dyn Error>> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let event = set
        .file
        .iter()
        .flat_map(|file| &file.message_type)
        .find(|message| message.name() == "Event")
        .ok_or("there is no message Event")?;
    let (mut fields, mut messages) = (String::new(), String::new());
    let mut names = Vec::new();
    for field in event
        .field
        .iter()
        .filter(|field| field.oneof_index == Some(0))
    {
        let message = field.type_name().rsplit('.').next().unwrap_or_default();
        let (name, variant) = (field.name(), camel_case(field.name()));
        names.push(name);
        writeln!(fields, "Self::{variant}(_) => {name:?},")?;
        writeln!(messages, "Self::{variant}(_) => {message:?},")?;
    }
    Ok(format!(
        "/// What the events are called in `Event.kind`, in the order of `commit.proto`.
        pub const EVENT_NAMES: &[&str] = &{names:?};

        impl v1::event::Kind {{
            /// The name of the event in `Event.kind`: `rollout_opened`.
            pub const fn field_name(&self) -> &'static str {{ match self {{ {fields} }} }}

            /// The name of its message: `RolloutOpened`.
            pub const fn message_name(&self) -> &'static str {{ match self {{ {messages} }} }}
        }}"
    ))
}

/// A field's name as prost names the variant.
fn camel_case(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}
