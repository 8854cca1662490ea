//! Texts of more than a line are evidence; commits keep their beginning.

use rollbook_ledger::handler::HandlerError;
use rollbook_ledger::ids::{Aggregate, EnvironmentId, FlagKey, StepId};
use rollbook_ledger::journal::Journal;
use rollbook_ledger::proto::v1::Commit;
use rollbook_ledger::proto::v1::event::Kind;
use rollbook_ledger::rollout::command::{Answer, AnswerValue};
use rollbook_ledger::rollout::{self, Command, Refusal};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::handler::{Ledger, ask, flag, id, open, open_manual};

async fn last_commit(ledger: &Ledger, aggregate: &Aggregate) -> Commit {
    let mut commits = ledger.journal.read(aggregate, 0).await.unwrap();
    commits.pop().unwrap().commit
}

/// The whole text that the last commit names under this field.
async fn whole(ledger: &Ledger, commit: &Commit, field: &str) -> String {
    let text = commit.texts.iter().find(|text| text.field == field);
    let evidence = text.unwrap().evidence.as_ref().unwrap();
    let bytes = ledger.evidence.get(&evidence.sha256).await.unwrap();
    assert_eq!(evidence.size_bytes, bytes.len() as u64);
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_long_reason_is_evidence_and_its_beginning_stays() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    ask(&handler, &Command::Start {}, "start").await.unwrap();
    let reason = "Call of Jane Doe, 555-0100\nShe asks to stop.";
    let pause = Command::Pause {
        reason: reason.to_owned(),
    };
    let paused = ask(&handler, &pause, "pause").await.unwrap();
    let again = ask(&handler, &pause, "pause").await.unwrap();
    assert_eq!((again.sequence, again.repeated), (paused.sequence, true));

    let commit = last_commit(&ledger, &Aggregate::Rollout(id())).await;
    let [kept] = commit.texts.as_slice() else {
        panic!("{commit:?}")
    };
    let sha256 = &kept.evidence.as_ref().unwrap().sha256;
    let Some(Kind::RolloutPaused(event)) = &commit.events[0].kind else {
        panic!("{commit:?}")
    };
    assert_eq!(
        event.reason,
        format!("Call of Jane Doe, 555-0100 … (whole text: evidence {sha256})")
    );
    assert_eq!(whole(&ledger, &commit, "reason").await, reason);
    let state = handler.rollout(&id()).await.unwrap().state;
    assert!(
        rollout::long_texts(&state).contains(sha256),
        "a proof of the rollout reads it"
    );
}

#[tokio::test]
async fn a_line_stays_and_a_text_beyond_every_limit_is_refused() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    ask(&handler, &Command::Start {}, "start").await.unwrap();
    let skip = |reason: String| Command::Skip {
        step: StepId::new("1.1").unwrap(),
        reason,
    };
    let refused = ask(&handler, &skip("x".repeat(5_000)), "long").await;
    let error = refused.unwrap_err();
    assert!(
        matches!(&error, HandlerError::Refused(_)) && error.to_string().contains("5000"),
        "{error}"
    );
    ask(&handler, &skip("x".repeat(200)), "line").await.unwrap();
    let commit = last_commit(&ledger, &Aggregate::Rollout(id())).await;
    assert!(commit.texts.is_empty(), "{commit:?}");
}

#[tokio::test]
async fn a_blank_text_is_refused_however_many_lines_it_has() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    ask(&handler, &Command::Start {}, "start").await.unwrap();
    for blank in ["\u{200b}\n\u{200b}".to_owned(), "\u{2060}".repeat(80)] {
        let pause = Command::Pause { reason: blank };
        let refused = ask(&handler, &pause, "pause").await.unwrap_err();
        assert!(matches!(refused, HandlerError::Refused(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_refused_command_stores_no_text() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    let reason = "Not started yet.\nSo it cannot be resumed.";
    let resume = Command::Resume {
        reason: reason.to_owned(),
    };
    ask(&handler, &resume, "resume").await.unwrap_err();
    let sha256 = hex::encode(Sha256::digest(reason));
    assert!(!ledger.evidence.exists(&sha256).await.unwrap());
}

#[tokio::test]
async fn lines_after_the_text_do_not_count() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    open(&handler, "open").await.unwrap();
    ask(&handler, &Command::Start {}, "start").await.unwrap();
    let reason = format!("{}\nend", "z".repeat(4_080));
    let pause = Command::Pause {
        reason: format!("{reason}{}", "\n".repeat(20)),
    };
    ask(&handler, &pause, "pause").await.unwrap();
    let commit = last_commit(&ledger, &Aggregate::Rollout(id())).await;
    assert_eq!(whole(&ledger, &commit, "reason").await, reason);
}

#[tokio::test]
async fn texts_that_do_not_fit_together_are_refused_by_rule() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    let items: Vec<String> = (0..160)
        .map(|n| format!("item {n} {}", "-".repeat(40)))
        .collect();
    open_manual(&handler, &items).await;
    ask(&handler, &Command::Start {}, "start").await.unwrap();
    let answer = |item: &String| Answer {
        item: item.clone(),
        answer: AnswerValue::Pass,
        note: "n".repeat(300),
    };
    let complete = Command::Complete {
        step: StepId::new("1.1").unwrap(),
        checklist: items.iter().map(answer).collect(),
        evidence: Vec::new(),
        note: String::new(),
    };
    let refused = ask(&handler, &complete, "complete").await.unwrap_err();
    assert!(
        matches!(&refused, HandlerError::Refused(Refusal::TextTooLong { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn reasons_of_flags_are_evidence_too() {
    let ledger = Ledger::new();
    let handler = ledger.handler();
    let off = json!({"mode": "OFF"});
    let define =
        json!({"command": "define", "description": "d", "owner": "o", "safe": off, "initial": off});
    flag(&handler, define, "define").await.unwrap();
    let reason = format!("{}\nmore", "y".repeat(300));
    let on = json!({"command": "set", "to": {"mode": "ON"}, "reason": reason});
    flag(&handler, on, "on").await.unwrap();
    let aggregate = Aggregate::Flag(
        EnvironmentId::new("local").unwrap(),
        FlagKey::new("f").unwrap(),
    );
    let commit = last_commit(&ledger, &aggregate).await;
    assert_eq!(whole(&ledger, &commit, "reason").await, reason);
    let Some(Kind::FlagChanged(event)) = &commit.events[0].kind else {
        panic!("{commit:?}")
    };
    assert!(event.reason.starts_with("yyy") && event.reason.len() < 310);
}
