//! Every error code has one meaning and is in `docs/errors.md`, which lists no others.
//! `tools/error-codes --update` maintains the tables there.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{root, rust, sources};

const DOCUMENT: &str = "docs/errors.md";

/// Where a code gets its message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Definition {
    path: String,
    message: String,
}

/// The complete codes in a text, with the position after each: `RB-JOURNAL-1`.
fn codes(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("RB-") {
        let rest = &text[start + 3..];
        let module: usize = rest.chars().take_while(char::is_ascii_uppercase).count();
        let Some(number) = rest[module..].strip_prefix('-') else {
            continue;
        };
        let digits = number.chars().take_while(char::is_ascii_digit).count();
        if module > 0 && digits > 0 {
            let end = start + 3 + module + 1 + digits;
            found.push((text[start..end].to_owned(), end));
        }
    }
    found
}

/// A definition is a string literal that is the code or starts with the code and a colon;
/// migrations define codes too.
fn definitions() -> BTreeMap<String, Vec<Definition>> {
    let mut found: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    for source in sources(&["rs", "sql"]) {
        let code = &source.code;
        let quotes: &[char] = if source.path.ends_with(".sql") {
            &['"', '\'']
        } else {
            &['"']
        };
        for (name, end) in codes(code) {
            let opened = code[..end - name.len()].ends_with(quotes);
            let rest = &code[end..];
            if opened && (rest.starts_with(": ") || rest.starts_with('"')) {
                let message = literal(rest);
                found.entry(name).or_default().push(Definition {
                    path: source.path.clone(),
                    message,
                });
            }
        }
        for (name, message) in numbered(code) {
            found.entry(name).or_default().push(Definition {
                path: source.path.clone(),
                message,
            });
        }
    }
    assert!(found.len() > 50, "only {} codes found", found.len());
    found
}

/// Up to the closing quote.
fn literal(text: &str) -> String {
    let mut message = String::new();
    let mut escaped = false;
    for c in text.chars() {
        if c == '"' && !escaped {
            break;
        }
        escaped = c == '\\' && !escaped;
        message.push(c);
    }
    message
}

/// The codes of a file that puts `RB-MODULE-` before the numbers of a table of `Name = number,
/// "remedy";`.
fn numbered(code: &str) -> Vec<(String, String)> {
    let Some((before, _)) = code.split_once("-\", $number)") else {
        return Vec::new();
    };
    let Some((_, module)) = before.rsplit_once("\"RB-") else {
        return Vec::new();
    };
    code.lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(" = ")?;
            let (number, remedy) = rest.split_once(", \"")?;
            number.parse::<u16>().ok()?;
            Some((format!("RB-{module}-{number}"), format!("{name}: {remedy}")))
        })
        .collect()
}

/// Ways to look for something in a text.
const LOOKS: &[&str] = &[
    "starts_with",
    "ends_with",
    "contains",
    "find",
    "rfind",
    "matches",
    "match_indices",
    "split",
    "split_once",
    "rsplit_once",
    "strip_prefix",
    "trim_start_matches",
    "eq",
];

/// Texts of an error or a failure, which are for people.
const PROSE: &[&str] = &["to_string()", "message", "message()", "told()", "why"];

/// Where a program looks for a code in a text that is not its own, and for how often.
const LOOK_FOR_CODES: &[(&str, usize)] = &[
    // Reads the source text of an error, when it is compiled.
    ("codes/src/lib.rs", 1),
    // Shortens the words of the YAML parser, which have no code.
    ("ledger/src/runbook/document.rs", 1),
    // SQLite gives a script no way to fail under a code of its own, only with a text.
    ("deals/src/migrate.rs", 1),
];

/// The calls that look for a code in a text, or cut a message where its code ends.
fn looked_for(code: &str) -> Vec<String> {
    // A call may go over lines.
    let code: String = code.split_whitespace().collect();
    let mut found = Vec::new();
    for look in LOOKS {
        found.extend(code.matches(&format!(".{look}(\"RB-")).map(str::to_owned));
        for prose in PROSE {
            for end in ["':'", "\":"] {
                let cut = format!("{prose}.{look}({end}");
                found.extend(code.matches(cut.as_str()).map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn no_program_reads_a_code_from_a_text() {
    for source in rust() {
        let allowed = LOOK_FOR_CODES
            .iter()
            .find(|(path, _)| *path == source.path)
            .map_or(0, |(_, times)| *times);
        let found = looked_for(&source.code);
        assert_eq!(
            found.len(),
            allowed,
            "{}: {found:?}; decide by `Coded::code` or the `code` beside the message",
            source.path
        );
    }
}

#[test]
fn looks_for_codes_are_found() {
    for text in [
        "message.starts_with(\"RB-\")",
        "let code = error\n    .to_string()\n    .split(':')\n    .next();",
        "failure.message.split_once(\": \")",
        "text.match_indices(\"RB-\")",
    ] {
        assert_eq!(looked_for(text).len(), 1, "{text}");
    }
    assert!(looked_for("failure.code == \"RB-CLI-1\"; text.split(':')").is_empty());
}

#[test]
fn a_code_has_one_message() {
    for (code, definitions) in definitions() {
        let mut messages = definitions.iter();
        let first = messages.next().unwrap();
        for other in messages {
            // A client gets less than the operator: the beginning of the same message.
            // Migration scripts refuse for the same reason in other words.
            let same = (first.path.ends_with(".sql") && other.path.ends_with(".sql"))
                || first.path == other.path
                    && (first.message.starts_with(&other.message)
                        || other.message.starts_with(&first.message));
            assert!(same, "{code} means two things: {first:?} and {other:?}");
        }
    }
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let document = std::fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let mut documented = BTreeMap::new();
    for line in document.lines() {
        let Some(row) = line.strip_prefix("| RB-") else {
            continue;
        };
        let code = format!("RB-{}", row.split(' ').next().unwrap_or_default());
        let cells: Vec<_> = row
            .replace("\\|", "")
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        assert!(
            cells.len() == 4 && cells.iter().take(3).all(|cell| !cell.is_empty()),
            "{DOCUMENT}: {code} lacks a cell"
        );
        assert!(
            documented.insert(code.clone(), ()).is_none(),
            "{DOCUMENT} lists {code} twice"
        );
    }
    let documented: BTreeSet<_> = documented.into_keys().collect();
    let defined: BTreeSet<_> = definitions().into_keys().collect();
    let missing: Vec<_> = defined.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&defined).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{DOCUMENT} lacks {missing:?} and lists {gone:?}, which are gone; run tools/error-codes --update"
    );
}

#[test]
fn no_document_names_a_code_that_does_not_exist() {
    let defined = definitions();
    for document in sources(&["md"]) {
        for (code, _) in codes(&document.text) {
            assert!(
                defined.contains_key(&code),
                "{} names {code}, which does not exist",
                document.path
            );
        }
    }
}

#[test]
fn no_source_names_a_code_that_does_not_exist() {
    let defined = definitions();
    for source in rust()
        .iter()
        .filter(|source| !source.path.starts_with("proto/tests/architecture/"))
    {
        for (code, _) in codes(&source.text) {
            assert!(
                defined.contains_key(&code),
                "{} names {code}, which does not exist",
                source.path
            );
        }
    }
}
