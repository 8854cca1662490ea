//! Terminal output. Text goes through `anstream`, which removes colours if standard output is not a
//! terminal or NO_COLOR is set.

use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use rollbook_ledger::clock;
use rollbook_ledger::journal::event_type;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_ledger::runbook::describe::masked;
use rollbook_proto::v1;
use rollbook_server::api::{CommandAnswer, RollbackAnswer};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::{layout, terminal};

/// Success.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Attention.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Failure.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// Secondary information.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();

/// A text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Why standard output could not be written to, the first time that it could not.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// Prints a line to standard output. A reader that has gone away is not an error; what else keeps a
/// line from being written is told by [`unwritten`] when the command ends.
pub(crate) fn line(text: impl std::fmt::Display) {
    use std::io::Write;
    if let Err(error) = writeln!(anstream::stdout(), "{text}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = UNWRITTEN.set(error.to_string());
    }
}

/// The failure of lines that could not be written, such as those beyond the end of a full disk.
pub(crate) fn unwritten() -> Option<Failure> {
    let reason = UNWRITTEN.get()?;
    Some(Failure::own(
        Exit::Unavailable,
        "RB-CLI-110",
        format!("standard output is incomplete: {reason}; make room, and run the command again"),
    ))
}

/// Prints a line to standard error: progress, hints.
pub(crate) fn note(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Foreign text on one line: nothing in it can move the cursor or pass for our own words, and
/// passwords in URLs are masked.
pub(crate) fn visible(text: &str) -> String {
    masked(text)
        .chars()
        .flat_map(|c| {
            let hidden = c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
            let (shown, escaped) = if hidden {
                (None, Some(c.escape_unicode()))
            } else {
                (Some(c), None)
            };
            shown.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// Foreign text whose further lines are indented more than our own.
pub(crate) fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(visible).collect();
    lines.join("\n          ")
}

/// A time as people read it, to the second.
pub(crate) fn time(at: jiff::Timestamp) -> String {
    clock::shown(at)
}

/// A time as it was typed or copied from our own texts, in RFC 3339; anything else is unchanged.
pub(crate) fn typed_time(text: &str) -> String {
    match text.trim().strip_suffix(" UTC") {
        Some(time) => format!("{}Z", time.replacen(' ', "T", 1)),
        None => text.to_owned(),
    }
}

/// An event in a sentence, where all are of one aggregate. At a terminal it is broken to fit; read
/// by a program it is one line.
pub(crate) fn timeline_row(row: &TimelineRow) -> String {
    event_line(row, &row.sentence)
}

/// An event in a sentence, with its rollout; the sentences of other aggregates name theirs.
pub(crate) fn timeline_row_of_any(row: &TimelineRow) -> String {
    match row.aggregate.strip_prefix("rollout ") {
        Some(rollout) => event_line(row, &format!("{rollout}: {}", row.sentence)),
        None => event_line(row, &row.sentence),
    }
}

fn event_line(row: &TimelineRow, text: &str) -> String {
    let at = row.recorded_at.map(time).unwrap_or_default();
    let first = format!("{:>6}.{}  {}  ", row.sequence, row.idx, paint(DIM, at));
    let (begins, ends) = (format!("{} ", row.actor), format!(" by {}", row.actor));
    let is_named = row.sentence.starts_with(&begins)
        || row.sentence.ends_with(&ends)
        || row.sentence.contains(&format!("{ends}:"));
    let text = if row.actor.is_empty() || is_named {
        text.to_owned()
    } else {
        format!("{text} [{}]", row.actor)
    };
    let indent = layout::width_of(&first);
    let width = terminal::width_if_any().unwrap_or(usize::MAX);
    layout::wrapped(&first, &text, Style::new(), indent, width).join("\n")
}

/// The width of texts that are the same at every terminal, in columns.
pub(crate) const WIDTH: usize = 80;

/// Foreign text broken into lines of at most [`WIDTH`] columns, the first after `first`, the others
/// indented to the same column. Line breaks of the text stay.
pub(crate) fn wrapped(first: &str, text: &str) -> Vec<String> {
    layout::wrapped(first, text, Style::new(), layout::width_of(first), WIDTH)
}

/// A value as pretty JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(unprintable)?;
    line(text);
    Ok(())
}

/// The failure of a value that cannot be printed as text.
pub(crate) fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::own(
        Exit::Integrity,
        "RB-CLI-8",
        format!("cannot print: {error}"),
    )
}

/// The name of an event as on the ledger: `step_started`.
pub(crate) fn event_name(event: &v1::Event) -> String {
    event_type(event).to_owned()
}

/// Prints the result of a command.
pub(crate) fn command_answer(answer: &CommandAnswer, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return json(answer);
    }
    for warning in &answer.warnings {
        note(paint(YELLOW, warning));
    }
    if answer.events.is_empty() {
        line(format!(
            "{} nothing to do; as of sequence {}",
            answer.rollout, answer.sequence
        ));
    } else {
        let events: Vec<String> = answer.events.iter().map(event_name).collect();
        line(format!(
            "{} {} {} at sequence {}",
            answer.rollout,
            if answer.repeated {
                "had recorded"
            } else {
                "recorded"
            },
            events.join(", "),
            answer.sequence
        ));
    }
    Ok(())
}

/// Prints what a rollback would do.
pub(crate) fn preview_rollback(answer: &RollbackAnswer, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return json(answer);
    }
    let list = &answer.list;
    if list.undo.is_empty() {
        line(format!("nothing to undo at level {}", list.level.as_str()));
    }
    for (index, item) in list.undo.iter().enumerate() {
        let proof = if item.verified_by.is_empty() {
            "not verified"
        } else {
            &item.verified_by
        };
        line(format!(
            "{:>3}. undo {} {} ({}; {proof})",
            index + 1,
            item.step,
            item.title,
            item.how
        ));
    }
    for step in &list.running {
        line(format!(
            "  step {step} is running; it is stopped, and undone when it has ended"
        ));
    }
    for left in &list.left {
        line(format!("  step {} is not undone: {}", left.step, left.why));
    }
    if let Some(target) = &answer.target {
        line(paint(DIM, format!("target: {target}")));
    }
    if let Some(description) = &answer.description {
        line(paint(DIM, description));
    }
    line(paint(DIM, format!("as of sequence {}", answer.sequence)));
    Ok(())
}

/// A duration in readable form.
pub(crate) fn duration(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} m {:02} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!(
            "{} h {:02} m",
            millis / 3_600_000,
            millis % 3_600_000 / 60_000
        ),
    }
}

/// Cents as dollars with thousands separators.
pub(crate) fn dollars(cents: i64) -> String {
    let whole = cents.unsigned_abs() / 100;
    let digits = whole.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!(
        "{}${out}.{:02}",
        if cents < 0 { "-" } else { "" },
        cents.unsigned_abs() % 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_formatted_for_people() {
        assert_eq!(dollars(123_456_789), "$1,234,567.89");
        assert_eq!(dollars(-5), "-$0.05");
        assert_eq!(duration(61_000), "1 m 01 s");
        assert_eq!(duration(1_250), "1.2 s");
        assert_eq!(time(jiff::Timestamp::UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
    }
}
