//! `--answer`: a checklist item, by number or exact text, and the answer to it.

use rollbook_ledger::person;
use rollbook_ledger::rollout::command::{Answer, AnswerValue};

use crate::exit::{Exit, Failure};

/// Parses `3=pass`, `3=fail:note` or `the item=pass:note`, where item and note may contain any
/// number of `=` and `:`. A number is the position of an item, from 1.
pub(crate) fn parse(text: &str, items: &[String]) -> Result<Answer, Failure> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let (item, rest) = (&text[..at], &text[at + 1..]);
        let Some((answer, note)) = parse_answer(rest) else {
            continue;
        };
        if let Some(item) = numbered(item, items)? {
            // The first `=` ends a number, whatever the note contains.
            return Ok(of(item, answer, note));
        }
        if let Some(item) = items.iter().find(|known| person::same(known, item)) {
            found.push(of(item, answer, note));
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-13",
            format!(
                "`{text}` answers no item of the checklist; write NUMBER=ANSWER[:NOTE] or the exact item, with pass, fail or not_applicable. The items: {}",
                listed(items)
            ),
        )),
        several => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-85",
            format!(
                "`{text}` can be read as an answer to {} items; answer by number. The items: {}",
                several.len(),
                listed(items)
            ),
        )),
    }
}

fn of(item: &str, answer: AnswerValue, note: &str) -> Answer {
    Answer {
        item: item.to_owned(),
        answer,
        note: note.to_owned(),
    }
}

/// The item at a number; `None`: the text is not a number.
fn numbered<'a>(text: &str, items: &'a [String]) -> Result<Option<&'a str>, Failure> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let place = text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    match place.and_then(|place| items.get(place)) {
        Some(item) => Ok(Some(item)),
        None => Err(Failure::own(
            Exit::Usage,
            "RB-CLI-86",
            format!("there is no item {text}; the items: {}", listed(items)),
        )),
    }
}

/// `pass`, `fail` or `not_applicable`, and the note after a colon.
fn parse_answer(text: &str) -> Option<(AnswerValue, &str)> {
    let (word, note) = text.split_once(':').unwrap_or((text, ""));
    let answer = match word {
        "pass" => AnswerValue::Pass,
        "fail" => AnswerValue::Fail,
        "not_applicable" => AnswerValue::NotApplicable,
        _ => return None,
    };
    Some((answer, note))
}

fn listed(items: &[String]) -> String {
    let items: Vec<String> = items
        .iter()
        .enumerate()
        .map(|(index, item)| format!("{} {item}", index + 1))
        .collect();
    items.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn items(list: &[&str]) -> Vec<String> {
        list.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn every_item_can_be_answered_with_every_note() {
        let items = items(&[
            "a: b=c",
            "=",
            "x=pass",
            "x",
            "Couverture \u{2265} 80%",
            "e\u{301}quipe",
            "a: b: c",
        ]);
        for (index, item) in items.iter().enumerate() {
            for note in ["", "note", "b=c=pass:note", "a=fail", "1=pass", ":"] {
                for named in [(index + 1).to_string(), item.clone()] {
                    let text = if note.is_empty() {
                        format!("{named}=pass")
                    } else {
                        format!("{named}=pass:{note}")
                    };
                    let answer = parse(&text, &items).unwrap();
                    assert_eq!((&answer.item, answer.note.as_str()), (item, note), "{text}");
                    assert_eq!(answer.answer, AnswerValue::Pass);
                }
            }
        }
        assert_eq!(parse("\u{e9}quipe=fail", &items).unwrap().item, items[5]);
    }

    #[test]
    fn an_answer_that_matches_no_item_or_several_is_refused() {
        let items = items(&["x", "x=pass:y"]);
        for (text, code) in [
            ("x=pass:y=fail", "RB-CLI-85"),
            ("z=pass", "RB-CLI-13"),
            ("x=maybe", "RB-CLI-13"),
            ("x", "RB-CLI-13"),
            ("3=pass", "RB-CLI-86"),
            ("0=pass", "RB-CLI-86"),
        ] {
            assert_eq!(parse(text, &items).unwrap_err().code, code, "{text}");
        }
    }
}
