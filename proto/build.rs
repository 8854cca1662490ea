//! Compiles the `.proto` files with protox (pure Rust, no protoc) and derives proto3 JSON.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=rollbook");
    let descriptors = protox::Compiler::new(["."])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(["rollbook/v1/commit.proto"])?
        .encode_file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
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
