//! The sources of the workspace.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Directories without sources of ours.
const NOT_OURS: &[&str] = &["target", "node_modules", "dist"];

/// A source file.
pub(crate) struct Source {
    /// Path from the root of the workspace, `ledger/src/ids.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The program text: without comments and without the test module at the end.
    pub(crate) code: String,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let code = code(&path, &text);
        Self { path, text, code }
    }

    /// Whether the code names this crate or item, as a word.
    pub(crate) fn names(&self, word: &str) -> bool {
        contains_word(&self.code, word)
    }
}

fn code(path: &str, text: &str) -> String {
    if path
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs")
    {
        return String::new();
    }
    let test_module = text.match_indices("\n#[cfg(test)]\n").find(|(start, _)| {
        let mut item = text[start + 1..].lines();
        let declaration = item.find(|line| !line.starts_with("#["));
        declaration.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    let end = test_module.map_or(text.len(), |(start, _)| start);
    without_comments(&text[..end])
}

/// A text line by line, without the contents of its comments.
pub(crate) fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        code.push_str(without_comment(line));
        code.push('\n');
    }
    code
}

/// `https://` does not start a comment.
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

/// Whether a text contains a word that is not part of a longer name.
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

/// All our sources and documents, read once, by path.
fn all() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut found = Vec::new();
        collect(&root(), &["md", "rs", "sql", "ts"], &mut found);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    })
}

/// All our files whose names have one of these extensions, by path.
pub(crate) fn sources(extensions: &[&str]) -> Vec<&'static Source> {
    let ends = |path: &str| {
        path.rsplit('.')
            .next()
            .is_some_and(|end| extensions.contains(&end))
    };
    let found: Vec<_> = all().iter().filter(|source| ends(&source.path)).collect();
    assert!(
        found.len() > 5,
        "the sources were not found below {}",
        root().display()
    );
    found
}

/// The text of one source or document.
#[track_caller]
pub(crate) fn text_of(path: &str) -> &'static str {
    let found = all().iter().find(|source| source.path == path);
    &found.unwrap_or_else(|| panic!("{path} is gone")).text
}

/// The Rust sources.
pub(crate) fn rust() -> Vec<&'static Source> {
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
            found.push(Source::new(path, text));
        }
    }
}

#[test]
fn comments_and_tests_are_not_code() {
    let text = "//! a\n#[cfg(test)]\nmod more;\nuse x; // sqlx\n/// tokio\nlet u = \"nats://h\"; rayon();\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n use std::fs;\n}\n";
    let source = Source::new("a/src/b.rs".to_owned(), text.to_owned());
    assert!(!source.names("sqlx") && !source.names("tokio") && !source.names("std::fs"));
    assert!(source.names("rayon") && !source.names("ray"));
    let allowed = text.replace(
        "#[cfg(test)]\nmod tests",
        "#[cfg(test)]\n#[allow(x)]\nmod tests",
    );
    let source = Source::new("a/src/b.rs".to_owned(), allowed);
    assert!(source.names("rayon") && !source.names("std::fs"));
}
