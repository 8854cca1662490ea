//! Why something is blocked is data: the domain writes no command lines, and no program reads the
//! sentences meant for people.

use std::collections::BTreeSet;

use crate::tree::{rust, text_of};

/// Where rules are decided.
const DOMAIN: &[&str] = &[
    "ledger/src/authority/",
    "ledger/src/environment/",
    "ledger/src/flag/",
    "ledger/src/fleet/",
    "ledger/src/rollout/",
    "ledger/src/runbook/",
];

/// Renders the runbook reference, which names `rollbook lint`.
const WRITES_A_DOCUMENT: &str = "ledger/src/runbook/reference.rs";

#[test]
fn the_domain_writes_no_command_lines() {
    let mut seen = 0;
    for source in rust() {
        let is_domain = DOMAIN.iter().any(|it| source.path.starts_with(it));
        if !is_domain || source.path == WRITES_A_DOCUMENT {
            continue;
        }
        seen += 1;
        for (number, line) in source.code.lines().enumerate() {
            for syntax in ["rollbook ", " --as", " --reason"] {
                assert!(
                    !line.contains(syntax),
                    "{}:{}: `{syntax}` is syntax of the command line; answer with a `Remedy`: {line}",
                    source.path,
                    number + 1
                );
            }
        }
    }
    assert!(seen > 50, "{seen} files of the domain");
}

#[test]
fn no_program_decides_by_sentences_for_people() {
    for source in rust() {
        let code: String = source.code.split_whitespace().collect();
        for field in ["why", "how", "who"] {
            for matched in [
                ".contains(",
                ".starts_with(",
                ".ends_with(",
                ".split(",
                ".split_once(",
                ".strip_prefix(",
                "==",
                "!=",
            ] {
                let found = format!(".{field}{matched}");
                assert!(
                    !code.contains(&found),
                    "{} decides by `{found}`; decide by `rule`, `figures`, `waits_for` and `remedies`",
                    source.path
                );
            }
        }
    }
}

/// The variants of a public enum as JSON names them.
fn variants(file: &str, name: &str) -> BTreeSet<String> {
    let source = text_of(file);
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| {
            let name: String = line
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            let mut snake = String::new();
            for c in name.chars() {
                if c.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            snake
        })
        .collect()
}

/// The first column of the table under a heading of docs/status.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let document = text_of("docs/status.md");
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn each_rule_and_each_remedy_is_documented() {
    let rules = variants("ledger/src/rollout/block.rs", "BlockRule");
    assert!(rules.len() > 25, "{rules:?}");
    assert_eq!(documented("Rules"), rules);
    let remedies = variants("ledger/src/rollout/remedy.rs", "Remedy");
    assert!(remedies.len() > 15, "{remedies:?}");
    assert_eq!(documented("Remedies"), remedies);
}
