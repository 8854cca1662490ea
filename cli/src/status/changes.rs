//! What has changed since the last look, a line for each change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_server::api::{BlockedAnswer, StatusAnswer};

use crate::print::{self, visible};

/// What is blocked, as last told: the reason by subject and rule. One subject can be blocked by
/// several rules at once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    blocked: BTreeMap<(String, String), String>,
}

impl Told {
    /// Takes everything that is blocked as told.
    pub(crate) fn all(answer: &StatusAnswer) -> Self {
        let blocked = answer.blocked.iter();
        Self {
            blocked: blocked
                .map(|it| ((subject(it), rule(it)), reason(it)))
                .collect(),
        }
    }

    /// Lines about what is blocked now and was not, or for another reason, and about what no longer
    /// is.
    pub(crate) fn changes(&mut self, answer: &StatusAnswer, now: Timestamp) -> Vec<String> {
        let now_blocked = Self::all(answer).blocked;
        let at = answer.view.as_of.recorded_at.unwrap_or(now);
        let time = print::time(at);
        let is_still_blocked = |what: &String| now_blocked.keys().any(|(still, _)| still == what);
        // One line for a subject that nothing blocks any more, however many rules did.
        let mut freed: Vec<String> = Vec::new();
        for key in self.blocked.keys() {
            let (what, rule) = key;
            let text = match is_still_blocked(what) {
                true if now_blocked.contains_key(key) => continue,
                true => format!("{time}  no longer blocked: {what} ({rule})"),
                false => format!("{time}  no longer blocked: {what}"),
            };
            if freed.last() != Some(&text) {
                freed.push(text);
            }
        }
        let new = now_blocked
            .iter()
            .filter(|(key, why)| self.blocked.get(*key) != Some(why))
            .map(|((what, _), why)| format!("{time}  blocked: {what}: {why}"));
        let lines = freed.into_iter().chain(new).collect();
        self.blocked = now_blocked;
        lines
    }
}

/// Whether the rollout itself, what is blocked or what a running step reports has changed.
pub(crate) fn is_news(before: &StatusAnswer, after: &StatusAnswer) -> bool {
    let sequence = |answer: &StatusAnswer| answer.view.data.rollout.updated_sequence;
    sequence(before) != sequence(after)
        || before.blocked != after.blocked
        || before.progress != after.progress
}

/// One event on one line.
pub(crate) fn event(row: &TimelineRow) -> String {
    let time = row.recorded_at.map(print::time).unwrap_or_default();
    format!("{time}  {}", visible(&row.sentence))
}

fn subject(answer: &BlockedAnswer) -> String {
    visible(&answer.blocked.what.to_string())
}

/// The rule in words: `sign offs missing`.
fn rule(answer: &BlockedAnswer) -> String {
    let name = serde_json::to_value(answer.blocked.rule).unwrap_or_default();
    name.as_str().unwrap_or_default().replace('_', " ")
}

/// Why, who, until and how, on one line.
fn reason(BlockedAnswer { blocked, how }: &BlockedAnswer) -> String {
    let mut text = visible(&blocked.why.replace('\n', " "));
    let by_itself = blocked.waits_for.is_by_itself();
    if !blocked.who.is_empty() && blocked.until.is_none() && !by_itself {
        text.push_str(&format!("; who: {}", visible(&blocked.who.join(", "))));
    }
    if let Some(at) = blocked.until {
        text.push_str(&format!("; until: {}", print::time(at)));
    }
    if let Some(how) = how {
        text.push_str(&format!("; how: {}", visible(how)));
    }
    text
}
