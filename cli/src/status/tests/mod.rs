//! Frames and trees of one rollout in many states, held by golden files: `ROLLBOOK_BLESS=1` writes
//! them anew.

mod states;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anstream::adapter::strip_str;
use jiff::Timestamp;
use rollbook_ledger::projection::rows::TimelineRow;
use rollbook_ledger::rollout::WaitsFor;
use rollbook_ledger::runbook::Plan;
use rollbook_server::api::StatusAnswer;

use super::changes::{self, Told};
use super::frame::Frame;
use super::{Picture, tree};
use crate::layout::{rows, width_of};
use states::{
    NOW, STATES, blocked_gate, failed_step, paused_with_revision, plan, refused_sign_off,
    running_step, running_watch,
};

fn picture<'a>(answer: &'a StatusAnswer, plan: &'a Plan, width: usize) -> Picture<'a> {
    Picture {
        answer,
        plan: Some(plan),
        now: NOW.parse().unwrap(),
        width,
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/status/golden")
        .join(name)
}

/// Compares with the golden file, or writes it.
fn is_golden(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("ROLLBOOK_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, wanted,
        "{name} has changed; ROLLBOOK_BLESS=1 writes it anew, review the difference"
    );
}

fn plain(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{}", strip_str(line).to_string().trim_end()).unwrap();
    }
    text
}

#[test]
fn frames_and_trees_are_as_reviewed() {
    let plan = plan();
    for (name, state) in STATES {
        let answer = state().answer();
        for width in [80, 140] {
            let picture = picture(&answer, &plan, width);
            let frame = Frame::of(&picture, None).whole();
            let text = format!(
                "── status --watch, {width} columns\n{}── status, {width} columns\n{}",
                plain(&frame),
                plain(&tree(&picture))
            );
            is_golden(&format!("{name}.{width}.txt"), &text);
        }
    }
}

#[test]
fn a_frame_in_colour_is_as_reviewed() {
    let (plan, answer) = (plan(), refused_sign_off().answer());
    let frame = Frame::of(&picture(&answer, &plan, 80), None).whole();
    let text = frame.join("\n").replace('\u{1b}', "␛") + "\n";
    is_golden("refused_sign_off.colours.txt", &text);
}

#[test]
fn no_line_but_a_command_is_wider_than_the_terminal() {
    let plan = plan();
    for (name, state) in STATES {
        let answer = state().answer();
        for width in [40, 60, 80, 100, 140, 200] {
            let picture = picture(&answer, &plan, width);
            let lost = (12, "no server answers at http://127.0.0.1:7400".to_owned());
            let lines = Frame::of(&picture, Some(&lost)).whole();
            for line in lines.iter().chain(&tree(&picture)) {
                let is_command = line.contains("rollbook ");
                let fits = width_of(line) <= width;
                assert!(is_command || fits, "{name} at {width}: {line}");
            }
        }
    }
}

#[test]
fn a_frame_fits_into_any_height_and_says_what_is_hidden() {
    let plan = plan();
    for (name, state) in STATES {
        let answer = state().answer();
        let whole = Frame::of(&picture(&answer, &plan, 80), None).whole();
        for height in 2..60 {
            let frame = Frame::of(&picture(&answer, &plan, 80), None).within(height);
            let taken: usize = frame.iter().map(|line| rows(line, 80)).sum();
            assert!(taken < height, "{name} at {height}: {taken} rows");
            let cut = frame != whole;
            let says = frame.iter().any(|line| line.contains("… hidden: "));
            assert_eq!(cut, says, "{name} at {height}: {frame:?}");
        }
    }
    let answer = failed_step().answer();
    let frame = Frame::of(&picture(&answer, &plan, 80), None).within(16);
    is_golden("failed_step.16_rows.txt", &plain(&frame));
}

#[test]
fn no_id_is_cut_to_be_typed_wrongly() {
    let plan = plan();
    for (name, state) in STATES {
        let answer = state().answer();
        for width in [40, 60, 80] {
            let text = plain(&tree(&picture(&answer, &plan, width)));
            let phases = answer.view.data.phases.iter();
            for step in phases.flat_map(|phase| &phase.steps) {
                let id = &step.step;
                assert!(text.contains(id), "{name} at {width}: {id}\n{text}");
            }
        }
    }
}

#[test]
fn what_is_blocked_is_news_too() {
    let (before, after) = (running_step().answer(), running_step().answer());
    assert!(!changes::is_news(&before, &after));
    assert!(changes::is_news(&before, &blocked_gate().answer()));
    let (paused, mut resumed) = (
        paused_with_revision().answer(),
        paused_with_revision().answer(),
    );
    resumed.blocked.remove(0);
    assert!(changes::is_news(&paused, &resumed));
}

#[test]
fn what_goes_on_by_itself_asks_nobody() {
    let now: Timestamp = NOW.parse().unwrap();
    let (plan, mut answer) = (plan(), blocked_gate().answer());
    for waits_for in [WaitsFor::Time, WaitsFor::Worker] {
        for it in &mut answer.blocked {
            it.blocked.who = vec!["time".to_owned()];
            it.blocked.waits_for = waits_for;
        }
        let mut text = plain(&Frame::of(&picture(&answer, &plan, 80), None).whole());
        text.push_str(&Told::default().changes(&answer, now).join("\n"));
        assert!(!text.contains("who: time"), "{text}");
    }
}

#[test]
fn a_lost_server_is_shown_over_what_was_last_known() {
    let (plan, answer) = (plan(), running_watch().answer());
    let lost = (
        75,
        "RB-CLI-5: no server answers at http://127.0.0.1:7400".to_owned(),
    );
    let frame = Frame::of(&picture(&answer, &plan, 80), Some(&lost)).whole();
    let text = plain(&frame);
    assert!(
        text.contains("no answer for 1 m 15 s, trying again: RB-CLI-5"),
        "{text}"
    );
    assert!(text.contains("sample 9 of 61"), "{text}");
}

#[test]
fn without_a_plan_the_rest_is_shown() {
    let answer = failed_step().answer();
    let picture = Picture {
        answer: &answer,
        plan: None,
        now: NOW.parse().unwrap(),
        width: 80,
    };
    let text = plain(&tree(&picture));
    assert!(
        text.contains("rollbook retry 1.1 prices-1 --reason …\n"),
        "{text}"
    );
    assert!(
        !text.contains("planned") && !text.contains("call:"),
        "{text}"
    );
}

#[test]
fn a_line_tells_each_change_once() {
    let now: Timestamp = NOW.parse().unwrap();
    let (before, after) = (running_step().answer(), blocked_gate().answer());
    let mut told = Told::all(&before);
    let lines = told.changes(&after, now);
    assert_eq!(
        lines,
        [
            "2026-11-29 16:22:50 UTC  blocked: gate 1: 0 of 1 sign-offs by lead; who: lead: alice or bob; how: rollbook approve 1 prices-1 --as <lead>"
        ]
    );
    assert!(told.changes(&after, now).is_empty());
    assert_eq!(
        told.changes(&before, now),
        ["2026-11-29 16:22:50 UTC  no longer blocked: gate 1"]
    );
    let both = paused_with_revision().answer();
    assert_eq!(told.changes(&both, now).len(), 2);
    assert!(told.changes(&both, now).is_empty());
    let mut resumed = paused_with_revision().answer();
    resumed.blocked.remove(0);
    assert_eq!(
        told.changes(&resumed, now),
        ["2026-11-29 16:22:50 UTC  no longer blocked: rollout (paused)"]
    );
    told.changes(&both, now);
    assert_eq!(
        told.changes(&before, now),
        ["2026-11-29 16:22:50 UTC  no longer blocked: rollout"]
    );
    let row = TimelineRow {
        sequence: 9,
        idx: 0,
        recorded_at: Some(now),
        actor: "w".to_owned(),
        event: "step_finished".to_owned(),
        rollout: "prices-1".to_owned(),
        aggregate: "rollout prices-1".to_owned(),
        subject: "1.1".to_owned(),
        sentence: "Step 1.1 finished: pass\u{7}".to_owned(),
    };
    assert_eq!(
        changes::event(&row),
        "2026-11-29 16:22:53 UTC  Step 1.1 finished: pass\\u{7}"
    );
}
