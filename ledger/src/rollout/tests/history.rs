//! Properties over random histories.

use proptest::prelude::*;
use rollbook_proto::v1::{self, Verdict};
use serde_json::json;

use super::super::command::{Command, Request, SystemCommand, WorkerCommand};
use super::super::next::TaskAction;
use super::super::{evolve, fold, next};
use super::story::*;
use crate::error_code::Coded;
use crate::journal::StoredCommit;
use crate::runbook::Plan;
use crate::runbook::RollbackLevel;

const STEPS: [&str; 8] = ["0.1", "0.2", "1.1", "1.2", "1.3", "2.1", "2.2", "9.9"];
const PEOPLE: [&str; 5] = ["alice", "bob", "dora", "olga", "mallory"];

fn plan_with_every_kind_of_step() -> Plan {
    plan_with(
        json!([
            gated("0", vec![check("0.1"), by_hand("0.2")],
                  json!({"sign_offs": [{"role": "eng"}], "expires": "30m"})),
            gated("1", vec![
                with(change("1.1"), json!({"idempotent": true, "retry": {"attempts": 3, "delay": "5s"}})),
                flag("1.2"),
                with(check("1.3"), json!({"on_fail": "rollback_flags", "needs": ["1.1"]}))],
                json!({"checks": ["m < 3"], "sign_offs": [{"role": "dba"}]})),
            {"id": "2", "title": "2", "needs": ["0"], "steps": [
                json!({"id": "2.1", "title": "w", "wait": {"for": "10m"}}),
                with(check("2.2"), json!({"critical": false}))]}
        ]),
        json!({"decide": [{"when": "m > 6", "then": "full", "auto": true},
                          {"when": "m > 4", "then": "flags", "auto": true}]}),
    )
}

fn step() -> impl Strategy<Value = &'static str> {
    prop::sample::select(STEPS.to_vec())
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        Verdict::Pass,
        Verdict::Pass,
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Error,
        Verdict::Inconclusive,
        Verdict::Skipped,
    ])
}

/// A random command. `Follow` does what `next` proposes, so that histories get far.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Ask(Box<Ask>),
    Follow(Verdict, f64),
    Wait(&'static str),
}

fn command() -> impl Strategy<Value = Command> {
    let reason = || "because".to_owned();
    let level = prop::sample::select(vec![
        RollbackLevel::Flags,
        RollbackLevel::Partial,
        RollbackLevel::Migrations,
        RollbackLevel::Configuration,
        RollbackLevel::Full,
    ]);
    prop_oneof![
        1 => Just(Command::Start {}),
        1 => Just(Command::Pause { reason: reason() }),
        2 => Just(Command::Resume { reason: String::new() }),
        1 => Just(Command::Abort { reason: reason() }),
        2 => step().prop_map(skip),
        4 => step().prop_map(retry),
        4 => step().prop_map(|step| complete(step, &[])),
        1 => step().prop_map(move |s| Command::ProposeNotApplicable { step: id(s), reason: reason() }),
        1 => (step(), any::<bool>()).prop_map(|(s, accept)| Command::ReviewNotApplicable {
            step: id(s), accept, reason: "seen".to_owned() }),
        6 => prop::sample::select(vec!["0", "1"]).prop_map(approve),
        1 => prop::sample::select(vec!["0", "1"]).prop_map(reject),
        1 => step().prop_map(|s| Command::Undo { step: id(s), reason: "back".to_owned() }),
        1 => (level, prop::collection::vec(step(), 0..2)).prop_map(|(level, steps)| {
            Command::Rollback {
                level,
                steps: steps.into_iter().map(id).collect(),
                reason: "back".to_owned(),
            }
        }),
    ]
}

fn record() -> impl Strategy<Value = WorkerCommand> {
    (step(), 0_u32..4, verdict(), 0..6).prop_map(|(step, attempt, verdict, kind)| match kind {
        0 => start(step, attempt),
        1 => finish(step, attempt, verdict),
        2 => WorkerCommand::InterruptStep {
            step: id(step),
            attempt,
            reason: "gone".to_owned(),
        },
        3 => start_undo(step, attempt),
        4 => finish_undo(step, attempt, verdict),
        _ => WorkerCommand::Measure {
            step: id(step),
            attempt,
            measurement: measurement("m", f64::from(attempt)),
        },
    })
}

pub(super) fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (verdict(), 0.0..8.0).prop_map(|(verdict, value)| Move::Follow(verdict, value)),
        4 => (prop::sample::select(PEOPLE.to_vec()), command())
            .prop_map(|(who, command)| Move::Ask(Box::new(by(who, command)))),
        2 => record().prop_map(|command| Move::Ask(Box::new(worker(command)))),
        1 => (step(), 0_u32..3).prop_map(|(s, attempt)| Move::Ask(Box::new(system(
            SystemCommand::GiveUp { step: id(s), attempt, reason: "nobody".to_owned() })))),
        3 => Just(Move::Ask(Box::new(system(SystemCommand::Settle)))),
        1 => prop::sample::select(vec!["1s", "10m", "40m"]).prop_map(Move::Wait),
    ]
}

/// Submits a command; if it is accepted it must evolve (`apply` panics otherwise).
fn ask(story: &mut Story, ask: &Ask, number: usize) -> bool {
    let command_id = format!("move-{number}-{}", story.state.sequence);
    match story.decide(ask, &command_id) {
        Ok(events) => {
            story.apply(&events, ask, &command_id);
            true
        }
        Err(refusal) => {
            assert!(
                refusal.code().as_str().starts_with("RB-ROLLOUT-"),
                "{refusal}"
            );
            assert_ne!(refusal.code(), "RB-ROLLOUT-34", "{refusal}");
            false
        }
    }
}

pub(super) fn play(moves: &[Move]) -> Story {
    let mut story = given(plan_with_every_kind_of_step());
    for (number, a_move) in moves.iter().enumerate() {
        match a_move {
            Move::Ask(asked) => {
                ask(&mut story, asked, number);
            }
            Move::Wait(span) => {
                let span: crate::runbook::Span = span.parse().unwrap();
                story.now = story.now.checked_add(span.to_signed()).unwrap();
            }
            Move::Follow(verdict, value) => follow(&mut story, *verdict, *value, number),
        }
        let offered = next(&story.state, &story.plan, story.now);
        for task in &offered.tasks {
            let begin = match task.action {
                TaskAction::Execute => start(task.step.as_str(), task.attempt),
                TaskAction::Undo => start_undo(task.step.as_str(), task.attempt),
                TaskAction::VerifyUndo => {
                    finish_undo(task.step.as_str(), task.attempt, Verdict::Pass)
                }
            };
            let result = story.decide(&worker(begin), "probe");
            assert!(
                result.is_ok(),
                "{task:?} was offered and refused: {result:?}"
            );
        }
        if !offered.over && offered.tasks.is_empty() && !offered.settle {
            let runs = super::super::rules::progress::anything_runs(&story.state);
            assert!(
                runs || !offered.blocked.is_empty() || story.state.status.is_closed(),
                "nothing moves and no reason is given: {:#?}",
                story.state
            );
        }
    }
    story
}

/// Does the first thing that `next` offers.
fn follow(story: &mut Story, verdict: Verdict, value: f64, number: usize) {
    let offered = next(&story.state, &story.plan, story.now);
    if offered.settle {
        ask(story, &system(SystemCommand::Settle), number);
        return;
    }
    let Some(task) = offered.tasks.first() else {
        let running = story
            .state
            .steps
            .iter()
            .find(|(_, at)| at.status == super::super::StepStatus::Running)
            .map(|(id, at)| (id.to_string(), at.attempt));
        if let Some((step, attempt)) = running {
            ask(story, &worker(finish(&step, attempt, verdict)), number);
        }
        return;
    };
    let (step, attempt) = (task.step.as_str(), task.attempt);
    match task.action {
        TaskAction::Execute => {
            assert!(ask(story, &worker(start(step, attempt)), number));
            let finished = v1::StepFinished {
                effect: verdict == Verdict::Pass && step.starts_with('1') && step != "1.3",
                measurements: vec![measurement("m", value)],
                ..result(step, attempt, verdict)
            };
            let done = WorkerCommand::FinishStep {
                finished,
                details: Vec::new(),
            };
            ask(story, &worker(done), number);
        }
        TaskAction::VerifyUndo => {
            assert!(ask(
                story,
                &worker(finish_undo(step, attempt, verdict)),
                number
            ));
        }
        TaskAction::Undo => {
            assert!(ask(story, &worker(start_undo(step, attempt)), number));
            ask(story, &worker(finish_undo(step, attempt, verdict)), number);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn decided_events_evolve_and_every_prefix_folds(
        moves in prop::collection::vec(a_move(), 0..60)
    ) {
        let story = play(&moves);
        let mut state = None;
        for (length, stored) in story.commits.iter().enumerate() {
            state = Some(evolve(state, &stored.commit, stored.sequence).unwrap());
            let prefix = story.commits.get(..=length).unwrap();
            prop_assert_eq!(&fold(prefix).unwrap(), &state);
        }
        prop_assert_eq!(state.unwrap(), story.state);
    }

    #[test]
    fn illegal_history_is_a_typed_error_and_never_a_panic(
        moves in prop::collection::vec(a_move(), 0..40),
        other_moves in prop::collection::vec(a_move(), 0..40),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let story = play(&moves);
        // The same commits in another order: their previous sequences no longer match.
        let mut shuffled = story.commits.clone();
        for (a, b) in &swaps {
            let (a, b) = (a.index(shuffled.len()), b.index(shuffled.len()));
            shuffled.swap(a, b);
        }
        if shuffled != story.commits {
            let error = fold(&shuffled).unwrap_err();
            prop_assert!(error.to_string().starts_with("RB-FOLD-"), "{}", error);
        }
        // Well-formed commits that replay another history's events, and each event twice: the
        // result must be a state or a named error.
        let foreign = play(&other_moves);
        let mut state = Some(story.state.clone());
        for stored in &foreign.commits {
            for event in &stored.commit.events {
                let Some(at) = state.clone() else { break };
                let commit = v1::Commit {
                    events: vec![event.clone(), event.clone()],
                    command_id: format!("foreign-{}", at.sequence),
                    previous_sequence: at.sequence,
                    ..stored.commit.clone()
                };
                match evolve(Some(at), &commit, commit.previous_sequence + 1) {
                    Ok(next) => state = Some(next),
                    Err(error) => {
                        prop_assert!(error.to_string().starts_with("RB-FOLD-"), "{}", error);
                    }
                }
            }
        }
    }
}

#[test]
fn a_commit_must_continue_this_history() {
    let story = given(plan_with_every_kind_of_step());
    let last = story.commits.last().unwrap().clone();
    let bad = |change: &dyn Fn(&mut StoredCommit)| {
        let mut commit = last.clone();
        commit.sequence = story.state.sequence + 1;
        commit.commit.previous_sequence = story.state.sequence;
        commit.commit.command_id = "new".to_owned();
        commit.commit.events = vec![v1::Event {
            kind: Some(v1::event::Kind::RolloutPaused(v1::RolloutPaused::default())),
        }];
        change(&mut commit);
        evolve(Some(story.state.clone()), &commit.commit, commit.sequence)
            .map(|_| String::new())
            .unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(bad(&|_| {}), "", "as it is, it continues");
    type Change<'a> = &'a dyn Fn(&mut StoredCommit);
    let cases: [(Change<'_>, &str); 9] = [
        (&|c| c.commit.aggregate_id = "r2".to_owned(), "RB-FOLD-2"),
        (&|c| c.commit.aggregate = "flag".to_owned(), "RB-FOLD-2"),
        (&|c| c.commit.previous_sequence -= 1, "RB-FOLD-3"),
        (&|c| c.sequence -= 1, "RB-FOLD-3"),
        (&|c| c.commit.recorded_at = None, "RB-FOLD-4"),
        (&|c| c.commit.events.clear(), "RB-FOLD-4"),
        (
            &|c| c.commit.events = vec![v1::Event::default()],
            "RB-FOLD-4",
        ),
        (&|c| c.commit.command_id = "open".to_owned(), "RB-FOLD-7"),
        (
            &|c| {
                c.commit.events = vec![v1::Event {
                    kind: Some(v1::event::Kind::StepSkipped(v1::StepSkipped {
                        step_id: "9.9".to_owned(),
                        ..v1::StepSkipped::default()
                    })),
                }];
            },
            "RB-FOLD-5",
        ),
    ];
    for (change, code) in cases {
        let text = bad(change);
        assert!(text.starts_with(code), "{code}: {text}");
    }
    let error = evolve(None, &last.commit, 1).unwrap_err().to_string();
    assert!(error.starts_with("RB-FOLD-3"), "{error}");
    let orphan = v1::Commit {
        previous_sequence: 0,
        ..last.commit
    };
    let error = evolve(None, &orphan, 1).unwrap_err().to_string();
    assert!(error.starts_with("RB-FOLD-1"), "{error}");
}

#[test]
fn requests_are_what_the_api_sends() {
    let text = r#"{"command":"rollback","level":"flags","reason":"r"}"#;
    let command: Command = serde_json::from_str(text).unwrap();
    assert!(matches!(
        Request::Person(command),
        Request::Person(Command::Rollback { .. })
    ));
    assert!(serde_json::from_str::<Command>(r#"{"command":"rollback","leve":"x"}"#).is_err());
}
