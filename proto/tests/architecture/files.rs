//! Files stay small and have one subject.

use crate::tree::sources;

const MAX_LINES: usize = 600;

/// Names that attract unrelated code.
const GRAB_BAGS: &[&str] = &["common", "helpers", "misc", "util", "utils"];

#[test]
fn no_file_is_too_long() {
    let too_long: Vec<_> = sources(&["rs", "ts"])
        .into_iter()
        .map(|source| (&source.path, source.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(
        too_long.is_empty(),
        "over {MAX_LINES} lines, split by subject: {too_long:?}"
    );
}

#[test]
fn no_module_is_a_grab_bag() {
    for source in sources(&["rs", "ts"]) {
        for part in source.path.split('/') {
            let name = part.split('.').next().unwrap_or_default();
            assert!(
                !GRAB_BAGS.contains(&name),
                "{}: name it for its subject",
                source.path
            );
        }
    }
}
