//! A public type has a name of its own: a reader must not have to look at the imports to know which
//! of two is meant.

use std::collections::BTreeMap;

use crate::tree::rust;

/// The crates that others use.
const LIBRARIES: &[&str] = &["ledger/src/", "deals/src/", "workers/src/", "server/src/"];

/// Where types are declared by a macro, each as a name and a brace.
const DECLARED_BY_MACRO: &str = "ledger/src/projection/words.rs";

/// The public types that a line declares.
fn declared(path: &str, line: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
    let name = match kinds.iter().find_map(|kind| line.strip_prefix(kind)) {
        Some(rest) => rest.split(|c| !is_word(c)).next()?,
        None if path == DECLARED_BY_MACRO => line.strip_prefix("    ")?.strip_suffix(" {")?,
        None => return None,
    };
    let is_type = name.starts_with(char::is_uppercase) && name.chars().all(is_word);
    is_type.then(|| name.to_owned())
}

#[test]
fn no_two_public_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in rust() {
        if !LIBRARIES
            .iter()
            .any(|library| source.path.starts_with(library))
        {
            continue;
        }
        for name in source
            .code
            .lines()
            .filter_map(|line| declared(&source.path, line))
        {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    assert!(places.len() > 300, "only {} types found", places.len());
    places.retain(|_, declared| declared.len() > 1);
    assert!(places.is_empty(), "rename all but one of each: {places:#?}");
}
