//! The checked-in files, and the only code that writes them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

/// Set to 1 to write files that do not exist yet. Existing files are never overwritten.
const BLESS: &str = "ROLLBOOK_BLESS";

pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

pub(crate) fn blessing() -> bool {
    std::env::var(BLESS).is_ok_and(|value| value == "1")
}

/// The content of a golden file; if it is missing and blessing is requested, it is first written
/// from `actual`.
pub(crate) fn golden(file: &str, actual: &str) -> String {
    let path = directory().join(file);
    if blessing() && !path.exists() {
        let mut new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        new.write_all(actual.as_bytes()).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; if the event is new, write its files with {BLESS}=1",
            path.display()
        )
    })
}

/// Bytes as lines of 64 hex digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes
        .chunks(32)
        .map(|line| hex::encode(line) + "\n")
        .collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}
