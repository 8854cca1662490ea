//! Every commit holds what the rules decide, whatever the input.

use proptest::prelude::*;
use prost::Message;
use rollbook_proto::v1::{self, Verdict, event::Kind};
use serde_json::json;

use super::super::command::{Answer, AnswerValue, Command, SystemCommand, WorkerCommand};
use super::story::*;
use crate::runbook::Plan;

fn long(bytes: usize) -> String {
    "é".repeat(bytes / 2)
}

fn finished(finished: v1::StepFinished) -> Ask {
    worker(WorkerCommand::FinishStep {
        finished,
        details: Vec::new(),
    })
}

fn named(metric: &str) -> v1::Measurement {
    measurement(metric, 1.0)
}

#[test]
fn each_text_that_a_worker_records_is_bounded() {
    let plan = plan_with(json!([phase("1", vec![check("1.1")])]), json!({}));
    let mut story = given(plan).and(worker(start("1.1", 1)));
    let result = || result("1.1", 1, Verdict::Pass);
    let evidence = |name: String| v1::Evidence {
        name,
        ..v1::Evidence::default()
    };
    let cases: [(v1::StepFinished, &str, &str); 7] = [
        (
            v1::StepFinished {
                message: long(5_000),
                ..result()
            },
            "RB-ROLLOUT-6",
            "message of a result",
        ),
        (
            v1::StepFinished {
                rule: long(5_000),
                ..result()
            },
            "RB-ROLLOUT-6",
            "rule of a result",
        ),
        (
            v1::StepFinished {
                measurements: vec![named(&long(202))],
                ..result()
            },
            "RB-ROLLOUT-6",
            "name of a measurement",
        ),
        (
            v1::StepFinished {
                measurements: vec![v1::Measurement {
                    unit: long(202),
                    ..named("m")
                }],
                ..result()
            },
            "RB-ROLLOUT-6",
            "unit of a measurement",
        ),
        (
            v1::StepFinished {
                measurements: vec![named("m"); 201],
                ..result()
            },
            "RB-ROLLOUT-32",
            "201 measurements",
        ),
        (
            v1::StepFinished {
                evidence: vec![evidence(long(5_000))],
                ..result()
            },
            "RB-ROLLOUT-6",
            "name of evidence",
        ),
        (
            v1::StepFinished {
                evidence: vec![evidence(long(4_000)); 20],
                ..result()
            },
            "RB-ROLLOUT-6",
            "command with all its texts",
        ),
    ];
    for (result, code, says) in cases {
        story = story.when(finished(result)).refused(code, says);
    }
    let sampled = v1::Measurement {
        text: long(5_000),
        ..named("m")
    };
    let sample = WorkerCommand::Measure {
        step: id("1.1"),
        attempt: 1,
        measurement: sampled,
    };
    story
        .when(worker(sample))
        .refused("RB-ROLLOUT-6", "text of a measurement");
}

fn checklist(items: usize, bytes: usize) -> (Plan, Vec<Answer>) {
    let items: Vec<String> = (0..items).map(|n| format!("{n} {}", long(bytes))).collect();
    let step = with(
        by_hand("1.1"),
        json!({"manual": {"instructions": "look", "checklist": items}}),
    );
    let answers = items
        .into_iter()
        .map(|item| Answer {
            item,
            answer: AnswerValue::Fail,
            note: String::new(),
        })
        .collect();
    (
        plan_with(json!([phase("1", vec![step])]), json!({})),
        answers,
    )
}

fn done(checklist: Vec<Answer>) -> Ask {
    by(
        "alice",
        Command::Complete {
            step: id("1.1"),
            checklist,
            evidence: Vec::new(),
            note: String::new(),
        },
    )
}

#[test]
fn answers_of_a_person_are_cut_with_a_digest_or_refused() {
    let (plan, answers) = checklist(30, 300);
    let story = given(plan).and(done(answers));
    let message = story.state.step(&id("1.1")).unwrap().message.clone();
    assert!(message.len() <= 4_096, "{} bytes", message.len());
    assert!(message.contains("SHA-256"), "{message}");
    let (plan, mut answers) = checklist(30, 300);
    for answer in &mut answers {
        answer.note = long(4_000);
    }
    given(plan)
        .when(done(answers))
        .refused("RB-ROLLOUT-6", "command with all its texts");
}

#[test]
fn the_answer_of_a_receiver_is_cut() {
    let plan = plan_with(
        json!([phase("1", vec![check("1.1")])]),
        json!({
            "channels": {"all": {"file": "notices.jsonl"}},
            "notices": [{"id": "n1", "channel": "all", "audience": "users", "anchor": "opened",
                "offset": "0s", "subject": "s", "body": "b"}]
        }),
    );
    let sent = v1::NoticeSent {
        notice_id: "n1".to_owned(),
        channel: "all".to_owned(),
        verdict: Verdict::Error.into(),
        message: long(100_000),
    };
    let story = given(plan).and(system(SystemCommand::RecordNotice { sent }));
    let message = story.events().find_map(|kind| match kind {
        Kind::NoticeSent(sent) => Some(sent.message.clone()),
        _ => None,
    });
    let message = message.unwrap();
    assert!(
        message.len() <= 4_096 && message.contains("100000 bytes"),
        "{message}"
    );
}

#[test]
fn a_review_too_large_for_one_commit_takes_several() {
    let target = vec!["value == 1"; 60].join(" || ");
    let success: Vec<_> = (0..150)
        .map(|n| json!({"name": format!("metric {n}"), "metric": "m", "target": target}))
        .collect();
    let plan = plan_with(
        json!([phase("1", vec![check("1.1")])]),
        json!({"success": success}),
    );
    let story = given(plan).measures("1.1", Verdict::Pass, &[("m", 1.0)]);
    assert_eq!(story.count("SuccessMetricRecorded"), 150, "each once");
    assert_eq!(story.count("RolloutClosed"), 1);
    assert!(story.state.reviewed.is_empty());
    assert_eq!(story.last_events().last(), Some(&"RolloutClosed"));
    story.folds();
}

proptest! {
    #[test]
    fn a_result_too_large_for_a_commit_is_not_decided(
        (message, rule, texts) in (0_usize..6_000, 0_usize..6_000, prop::collection::vec((0_usize..300, 0_usize..6_000), 0..40)),
    ) {
        let plan = plan_with(json!([phase("1", vec![check("1.1")])]), json!({}));
        let story = given(plan).and(worker(start("1.1", 1)));
        let measured = texts.iter().map(|(name, text)| v1::Measurement {
            text: long(*text),
            ..named(&format!("m{}", long(*name)))
        });
        let ask = finished(v1::StepFinished {
            message: long(message),
            rule: long(rule),
            measurements: measured.collect(),
            ..result("1.1", 1, Verdict::Pass)
        });
        if let Ok(events) = story.decide(&ask, "c") {
            let bytes: usize = events.iter().map(|event| event.encoded_len() + 8).sum();
            prop_assert!(bytes <= 57_344, "{} bytes", bytes);
            // The commit also holds the other fields, and the events that follow from these.
            story.and(ask);
        }
    }
}
