//! What has changed since the last look, a line for each change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_server::api::{BlockedAnswer, StatusAnswer};

use crate::print::{self, visible};

/// What is blocked, as last told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    blocked: BTreeMap<String, String>,
}

impl Told {
    /// Takes everything that is blocked as told.
    pub(crate) fn all(answer: &StatusAnswer) -> Self {
        let blocked = answer.blocked.iter();
        Self {
            blocked: blocked.map(|it| (subject(it), reason(it))).collect(),
        }
    }

    /// Lines about what is blocked now and was not, or for another reason, and about what no longer
    /// is.
    pub(crate) fn changes(&mut self, answer: &StatusAnswer, now: Timestamp) -> Vec<String> {
        let now_blocked = Self::all(answer).blocked;
        let at = answer.view.as_of.recorded_at.unwrap_or(now);
        let time = print::time(at);
        let freed = self.blocked.keys();
        let freed = freed
            .filter(|what| !now_blocked.contains_key(*what))
            .map(|what| format!("{time}  no longer blocked: {what}"));
        let new = now_blocked
            .iter()
            .filter(|(what, why)| self.blocked.get(*what) != Some(why))
            .map(|(what, why)| format!("{time}  blocked: {what}: {why}"));
        let lines = freed.chain(new).collect();
        self.blocked = now_blocked;
        lines
    }
}

/// One event on one line.
pub(crate) fn event(row: &TimelineRow) -> String {
    let time = row.recorded_at.map(print::time).unwrap_or_default();
    format!("{time}  {}", visible(&row.sentence))
}

fn subject(answer: &BlockedAnswer) -> String {
    visible(&answer.blocked.what.to_string())
}

/// Why, who, until and how, on one line.
fn reason(BlockedAnswer { blocked, how }: &BlockedAnswer) -> String {
    let mut text = visible(&blocked.why.replace('\n', " "));
    if !blocked.who.is_empty() && blocked.until.is_none() {
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
