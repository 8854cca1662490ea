//! The workers use no customer vocabulary: deals and their figures come in through ports.

use crate::tree::{rust, without_comments};

const WORKERS: &str = "workers/src/";

/// Types of deals, transition services and synergies. The workers may not mention them anywhere: in
/// any case, in prose or as part of a name.
const NOWHERE: &[&str] = &[
    "acquisition",
    "acquisitions",
    "carveout",
    "carveouts",
    "carve-out",
    "carve-outs",
    "carve_out",
    "divestiture",
    "divestitures",
    "synergy",
    "synergies",
    "tsa",
];

/// Prefix of figure names that the workers may not mention either.
const FIGURES: &str = "cost_";

/// Forbidden in names and strings of the code. Prose may say what work costs.
const NOT_IN_CODE: &[&str] = &["cost", "costs"];

/// The words of a text and the parts of its names, in lower case: `cost_total`, `TsaForAll` and
/// `carve-out` yield `cost`, `tsa` and `carve-out` among others.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for name in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')) {
        words.push(name.to_lowercase());
        for part in name.split(['_', '-']) {
            words.push(part.to_lowercase());
            let mut word = String::new();
            for c in part.chars() {
                if c.is_uppercase() && word.ends_with(|c: char| c.is_lowercase()) {
                    words.push(std::mem::take(&mut word).to_lowercase());
                }
                word.push(c);
            }
            words.push(word.to_lowercase());
        }
    }
    words
}

#[test]
fn the_workers_name_no_type_of_deal_no_cost_and_no_transition_service() {
    let mut seen = 0;
    for source in rust() {
        if !source.path.starts_with(WORKERS) {
            continue;
        }
        seen += 1;
        let check = |text: &str, words_of_deals: &[&str]| {
            for (number, line) in text.lines().enumerate() {
                let found = words(line);
                let of_deals = |word: &&String| {
                    words_of_deals.contains(&&***word) || word.starts_with(FIGURES)
                };
                if let Some(word) = found.iter().find(of_deals) {
                    panic!(
                        "{}:{}: `{word}` is a word of the deals; let their declaration name it",
                        source.path,
                        number + 1
                    );
                }
            }
        };
        check(&source.text, NOWHERE);
        check(&without_comments(&source.text), NOT_IN_CODE);
    }
    assert!(seen > 100, "only {seen} files of the workers");
}

#[test]
fn words_are_found_in_names_and_prose() {
    for text in [
        "cost_tsa",
        "TsaForAll",
        "TSA_DEALS",
        "a TSA, however",
        "of_tsa()",
        "\"tsa\"",
    ] {
        assert!(words(text).contains(&"tsa".to_owned()), "{text}");
    }
    assert!(words("Carve-Out").contains(&"carve-out".to_owned()));
    for text in ["itsa", "tsar", "Tsai"] {
        assert!(!words(text).contains(&"tsa".to_owned()), "{text}");
    }
}
