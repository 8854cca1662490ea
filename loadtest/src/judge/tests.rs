//! A sound case passes. Each violation is put into it and must be found, and nothing else with it.

use serde_json::{Value, json};

use super::case::{Case, Commit, Mark, Views, mark};
use super::report::Rule;
use crate::process::Found;
use crate::record::{Acknowledged, Effect, End, Ended, PlanRecord, Row, Seen, StepRecord};

fn commit(sequence: u64, previous: u64, actor: (&str, &str), events: &Value) -> Commit {
    let previous = (previous > 0).then(|| previous.to_string());
    Commit::of(&json!({
        "sequence": sequence,
        "commit": {
            "id": format!("c{sequence}"),
            "aggregate": "rollout",
            "aggregateId": "r",
            "commandId": format!("k{sequence}"),
            "previousSequence": previous,
            "actor": {"name": actor.0, "kind": actor.1},
            "events": events,
        }
    }))
}

fn started(step: &str, attempt: u64) -> Value {
    json!([{"stepStarted": {"stepId": step, "attempt": attempt}}])
}

fn passed(step: &str, attempt: u64) -> Value {
    json!([{"stepFinished": {"stepId": step, "attempt": attempt, "verdict": "PASS"}}])
}

fn told(sequence: u64, what: &str) -> Acknowledged {
    Acknowledged {
        rollout: "r".to_owned(),
        what: what.to_owned(),
        actor: "alice".to_owned(),
        command_id: Some(format!("k{sequence}")),
        sequence,
        events: 1,
        tries: 1,
    }
}

fn marks(text: &str) -> Vec<Mark> {
    text.lines().filter_map(mark).collect()
}

fn views(rebuilt: bool) -> Views {
    let rows = vec!["rollout='r'".to_owned()];
    Views {
        name: if rebuilt { "rebuilt.db" } else { "views.db" }.to_owned(),
        rebuilt,
        sequence: 9,
        tables: [("rollouts".to_owned(), rows)].into(),
    }
}

/// A rollout that went well, with a command, an idempotent one that was repeated, and a row.
fn sound() -> Case {
    let (alice, worker) = (("alice", "PERSON"), ("w", "WORKER"));
    let step = |id: &str, effect| StepRecord {
        id: id.to_owned(),
        effect,
    };
    Case {
        plans: vec![PlanRecord {
            rollout: "r".to_owned(),
            steps: vec![
                step("1", Effect::Once),
                step("2", Effect::Idempotent),
                step("3", Effect::Row),
            ],
            notices: vec!["begun".to_owned(), "ended".to_owned()],
        }],
        acknowledged: vec![told(1, "open"), told(2, "start")],
        seen: vec![Seen {
            sequence: 4,
            commit: "c4".to_owned(),
        }],
        ends: vec![Ended {
            process: "up".to_owned(),
            end: End::Told {
                code: Some(0),
                after_ms: 10,
                starting: false,
            },
        }],
        commits: vec![
            commit(1, 0, alice, &json!([{"rolloutOpened": {}}])),
            commit(2, 1, alice, &json!([{"rolloutStarted": {}}])),
            commit(3, 2, worker, &started("1", 1)),
            commit(4, 3, worker, &passed("1", 1)),
            commit(5, 4, worker, &started("2", 1)),
            commit(6, 5, worker, &started("2", 2)),
            commit(7, 6, worker, &passed("2", 2)),
            commit(8, 7, worker, &passed("3", 1)),
            commit(
                9,
                8,
                ("orchestrator", "ORCHESTRATOR"),
                &json!([{"rolloutClosed": {}}]),
            ),
        ],
        statuses: vec![
            json!({"data": {"rollout": "r", "closed_at": "2026-01-01T00:00:00Z"}, "blocked": []}),
        ],
        marks: marks("begin r 1 1\nend r 1 1\nbegin r 2 1\nbegin r 2 2\nend r 2 2"),
        rows: vec![Row {
            rollout: "r".to_owned(),
            step: "3".to_owned(),
        }],
        notices: vec![
            json!({"rollout": "r", "subject": "begun", "id": "a"}),
            json!({"rollout": "r", "subject": "begun", "id": "a"}),
            json!({"rollout": "r", "subject": "ended", "id": "b"}),
        ],
        views: vec![views(false), views(true)],
        processes: Vec::new(),
    }
}

/// The rules that a case breaks.
fn broken(case: &Case) -> Vec<Rule> {
    let report = super::judge(case);
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[track_caller]
fn finds(rule: Rule, doctor: impl FnOnce(&mut Case)) {
    let mut case = sound();
    doctor(&mut case);
    assert_eq!(broken(&case), [rule], "{:?}", super::judge(&case));
}

/// Removes the last commit, as if the ledger had lost its end.
fn lose_last(case: &mut Case) {
    case.commits.pop();
    case.statuses = vec![json!({
        "data": {"rollout": "r", "closed_at": null},
        "blocked": [{"what": "gate 1", "why": "nobody signed", "who": ["crew"], "until": null}],
    })];
}

#[test]
fn a_sound_case_is_clean() {
    let report = super::judge(&sound());
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.rollouts, report.acknowledged), (1, 2));
    assert_eq!((report.commits, report.effects, report.notices), (9, 4, 3));
}

#[test]
fn a_missing_command_is_found() {
    finds(Rule::Acknowledged, |case| {
        case.acknowledged.push(told(10, "approve"));
    });
    // Another command may have been given its sequence.
    finds(Rule::Acknowledged, |case| {
        lose_last(case);
        case.acknowledged.push(told(9, "approve"));
    });
    finds(Rule::Acknowledged, |case| {
        case.acknowledged[1].sequence = 1;
    });
    finds(Rule::Acknowledged, |case| {
        case.acknowledged[1].actor = "bob".to_owned();
    });
    finds(Rule::Acknowledged, |case| {
        case.acknowledged[1].events = 2;
    });
    // The command line opened it and does not reveal its command ids.
    finds(Rule::Acknowledged, |case| {
        case.acknowledged[0].command_id = None;
        case.acknowledged[0].rollout = "other".to_owned();
    });
}

#[test]
fn an_empty_answer_to_a_repeated_command_counts() {
    finds(Rule::Acknowledged, |case| {
        let mut repeated = told(10, "approve");
        (repeated.events, repeated.tries) = (0, 2);
        case.acknowledged.push(repeated);
    });
    let mut case = sound();
    let mut nothing = told(10, "resume");
    nothing.events = 0;
    case.acknowledged.push(nothing);
    assert_eq!(broken(&case), []);
}

#[test]
fn a_history_that_changed_is_found() {
    finds(Rule::Seen, |case| case.seen[0].commit = "other".to_owned());
    finds(Rule::Seen, |case| {
        lose_last(case);
        case.seen.push(Seen {
            sequence: 9,
            commit: "c9".to_owned(),
        });
    });
    finds(Rule::Unbroken, |case| {
        case.commits[8].sequence = 11;
    });
    finds(Rule::Unbroken, |case| {
        case.commits[8].previous = 6;
    });
    finds(Rule::CommandOnce, |case| {
        case.commits[8].command_id = "k7".to_owned();
    });
}

#[test]
fn a_repeated_effect_is_found() {
    let twice = "begin r 1 1\nend r 1 1\nbegin r 1 1\nend r 1 1\nbegin r 2 1\nend r 2 1";
    finds(Rule::EffectOnce, |case| case.marks = marks(twice));
    finds(Rule::EffectOnce, |case| {
        let row = case.rows[0].clone();
        case.rows.push(row);
    });
    // A person asked for the repetition.
    let mut case = sound();
    case.marks = marks(twice);
    let again = json!([{"stepRetried": {"stepId": "1"}}]);
    case.commits
        .push(commit(10, 9, ("alice", "PERSON"), &again));
    assert_eq!(broken(&case), []);
    // A rule caused it: nobody was asked.
    case.commits[9].is_person = false;
    assert_eq!(broken(&case), [Rule::EffectOnce]);
}

#[test]
fn unintended_and_missing_effects_are_found() {
    finds(Rule::Intent, |case| {
        case.marks.extend(marks("begin r 2 3\nend r 2 3"));
    });
    finds(Rule::Effect, |case| case.rows.clear());
    finds(Rule::Effect, |case| {
        case.marks = marks("begin r 1 1\nbegin r 2 1\nend r 2 1");
    });
}

#[test]
fn two_copies_at_the_same_time_are_found() {
    finds(Rule::Alone, |case| {
        case.marks =
            marks("begin r 1 1\nend r 1 1\nbegin r 2 1\nbegin r 2 2\nend r 2 1\nend r 2 2");
    });
}

#[test]
fn a_lost_notice_and_one_under_two_ids_are_found() {
    finds(Rule::Notice, |case| {
        case.notices.pop();
    });
    finds(Rule::Notice, |case| case.notices[1]["id"] = json!("c"));
    finds(Rule::Notice, |case| {
        case.plans[0].notices.push("begun by post".to_owned());
    });
}

#[test]
fn views_that_differ_from_their_rebuild_are_found() {
    finds(Rule::Views, |case| {
        case.views[0]
            .tables
            .insert("steps".to_owned(), vec!["x".to_owned()]);
    });
    finds(Rule::Views, |case| {
        case.views[0].tables.clear();
    });
    finds(Rule::Views, |case| case.views[0].sequence = 8);
    finds(Rule::Views, |case| {
        case.views.pop();
    });
    finds(Rule::Views, |case| {
        case.views.remove(0);
    });
    // The same row twice.
    finds(Rule::Views, |case| {
        let rows = case.views[0].tables.get_mut("rollouts").unwrap();
        rows.push("rollout='r'".to_owned());
    });
}

#[test]
fn a_rollout_that_is_stuck_without_a_reason_is_found() {
    finds(Rule::Ends, |case| case.statuses.clear());
    finds(Rule::Ends, |case| {
        lose_last(case);
        case.statuses[0]["blocked"] = json!([]);
    });
    let mut case = sound();
    lose_last(&mut case);
    let report = super::judge(&case);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.unfinished, ["r: gate 1: nobody signed"]);
}

#[test]
fn an_orphan_is_found() {
    finds(Rule::Orphan, |case| {
        case.processes.push(Found {
            pid: 7,
            line: "sleep 100".to_owned(),
            directory: "/storm".to_owned(),
        });
    });
}

#[test]
fn a_process_that_does_not_stop_or_crashes_is_found() {
    let ends = |code| End::Unasked {
        code,
        said: "words".to_owned(),
    };
    finds(Rule::Process, |case| {
        case.ends[0].end = End::Deaf { after_ms: 90_000 };
    });
    finds(Rule::Process, |case| {
        case.ends[0].end = End::Stays { after_ms: 120_000 };
    });
    finds(Rule::Process, |case| case.ends[0].end = ends(Some(101)));
    finds(Rule::Process, |case| case.ends[0].end = ends(None));
    let mut case = sound();
    case.ends[0].end = ends(Some(7));
    assert_eq!(broken(&case), []);
    // SIGTERM itself ended it without an orderly stop, which is allowed only while it was starting.
    let told = |starting| End::Told {
        code: None,
        after_ms: 10,
        starting,
    };
    finds(Rule::Process, |case| case.ends[0].end = told(false));
    case.ends[0].end = told(true);
    assert_eq!(broken(&case), []);
}
