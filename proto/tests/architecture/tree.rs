//! The sources of the workspace.

use std::path::{Path, PathBuf};

/// Directories that hold no source of ours.
const NOT_OURS: &[&str] = &["target", "node_modules", "dist"];

/// A source file.
pub(crate) struct Source {
    /// From the root of the workspace, `ledger/src/ids.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// A file of tests as a whole.
    pub(crate) fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
    }

    /// What the program consists of: without comments and without the test module at the end.
    pub(crate) fn code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let test_module = self
            .text
            .match_indices("#[cfg(test)]\nmod ")
            .find(|(start, _)| {
                let declaration = self.text[*start..].lines().nth(1);
                declaration.is_some_and(|line| line.ends_with('{'))
            });
        let end = test_module.map_or(self.text.len(), |(start, _)| start);
        let program = &self.text[..end];
        program
            .lines()
            .map(|line| without_comment(line).to_owned() + "\n")
            .collect()
    }

    /// Whether the code names this crate or item, as a word.
    pub(crate) fn names(&self, word: &str) -> bool {
        contains_word(&self.code(), word)
    }
}

/// `https://` begins no comment.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let start = from + found;
        if !line[..start].ends_with(':') {
            return &line[..start];
        }
        from = start + 2;
    }
    line
}

/// Whether a text contains a word that is no part of a longer name.
pub(crate) fn contains_word(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// All files of ours whose names end in one of these extensions, by path.
pub(crate) fn sources(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root(), extensions, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.len() > 5,
        "the sources were not found below {}",
        root().display()
    );
    found
}

/// The Rust sources.
pub(crate) fn rust() -> Vec<Source> {
    let found = sources(&["rs"]);
    assert!(found.len() > 100, "only {} Rust files", found.len());
    found
}

fn collect(directory: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) {
                collect(&path, extensions, found);
            }
        } else if kind.is_file()
            && path
                .extension()
                .is_some_and(|ending| extensions.iter().any(|one| ending == *one))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            found.push(Source { path, text });
        }
    }
}

#[test]
fn comments_and_tests_are_not_code() {
    let source = Source {
        path: "a/src/b.rs".to_owned(),
        text: "#[cfg(test)]\nmod more;\nuse x; // sqlx\n/// tokio\nlet u = \"nats://h\"; rayon();\n#[cfg(test)]\nmod tests {\n use std::fs;\n}\n".to_owned(),
    };
    assert!(!source.names("sqlx") && !source.names("tokio") && !source.names("std::fs"));
    assert!(source.names("rayon") && !source.names("ray"));
}
