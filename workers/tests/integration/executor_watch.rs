//! Watches over real samples, and flags.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use rollbook_ledger::clock::{Clock, SystemClock};
use rollbook_ledger::rollout::Sample;
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::runbook::model::FlagTarget;
use rollbook_proto::v1::{FlagMode, UndoVerification, Verdict};
use rollbook_workers::executor::{self, Facts, FlagCause};
use serde_json::json;

use crate::executor_fixture::{Fixture, number};

fn watch(fail: &str, tolerate: u32, length: &str, command: &str) -> Fixture {
    Fixture::with(
        json!({"watch": {"for": length, "every": "50ms", "thresholds": [{"metric": "errors", "fail": fail, "tolerate": tolerate}]}}),
        json!({"metrics": {"errors": {"unit": "%", "run": {"command": command}}}}),
        &[],
    )
}

#[tokio::test]
async fn every_sample_is_recorded_and_the_watch_ends_by_its_clock() {
    let fixture = watch("value > 5", 0, "200ms", "echo 2.5");
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:?}");
    let samples = fixture.samples.0.lock().unwrap();
    assert!(
        !samples.is_empty() && samples.len() <= 5,
        "{}",
        samples.len()
    );
    assert!(samples.iter().all(|s| s.value == Some(2.5)
        && s.unit == "%"
        && s.verdict() == Verdict::Pass
        && s.rule == "value > 5"));
    assert!(
        outcome.message.contains("errors: 0 of"),
        "{}",
        outcome.message
    );
    assert!(!outcome.effect);
}

#[tokio::test]
async fn a_watch_fails_once_more_samples_fail_than_tolerated() {
    let fixture = watch("value > 5", 1, "1h", "echo 9");
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert_eq!(fixture.samples.0.lock().unwrap().len(), 2);
    assert!(
        outcome
            .message
            .contains("2 of 2 samples failed (1 are tolerated)"),
        "{}",
        outcome.message
    );
}

#[tokio::test]
async fn an_earlier_number_does_not_stand_for_a_last_sample_without_data() {
    let dir = tempfile::tempdir().unwrap();
    let said = dir.path().join("said").display().to_string();
    let command = format!("test -e {said} && exit 1; touch {said}; echo 0.2");
    let fixture = watch("value > 5", 0, "300ms", &command);
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:?}");
    assert_eq!(number(&outcome, "errors"), None);
    assert!(
        outcome.message.contains("the last without data"),
        "{}",
        outcome.message
    );
}

#[tokio::test]
async fn a_failed_sample_is_missing_data_with_its_reason() {
    let fixture = watch("value > 5", 0, "10ms", "echo not a number");
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:?}");
    let samples = fixture.samples.0.lock().unwrap();
    assert!(
        samples
            .iter()
            .all(|s| s.value.is_none() && s.text.contains("not a number"))
    );
}

#[tokio::test]
async fn a_redelivered_watch_continues_from_its_recorded_samples() {
    let mut fixture = watch("value > 5", 1, "1h", "echo 9");
    let started_at = SystemClock.now() - SignedDuration::from_mins(30);
    fixture.context.started_at = started_at;
    fixture.context.facts = Arc::new(Facts {
        samples: BTreeMap::from([(
            "errors".to_owned(),
            vec![Sample {
                value: Some(7.into()),
                at: Some(started_at),
            }],
        )]),
        ..Facts::default()
    });
    let outcome = fixture.execute().await;
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:?}");
    assert_eq!(
        fixture.samples.0.lock().unwrap().len(),
        1,
        "the recorded failure counts"
    );
    assert!(
        outcome.message.contains("sampling times missed"),
        "{}",
        outcome.message
    );
}

#[tokio::test]
async fn a_cancelled_watch_says_why() {
    let fixture = watch("value > 5", 0, "1h", "echo 1");
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        fixture.context.cancel.cancel("aborted");
    };
    let (outcome, ()) = tokio::join!(fixture.execute(), cancel);
    assert_eq!(outcome.verdict, Verdict::Error);
    assert!(
        outcome.message.contains("cancelled: aborted"),
        "{}",
        outcome.message
    );
}

fn flag(to: serde_json::Value) -> Fixture {
    Fixture::with(
        json!({"flag": {"key": "NEW_COSTS", "to": to}}),
        json!({"flags": {"NEW_COSTS": {"description": "new costs", "owner": "deals", "safe": "parallel"}}}),
        &[],
    )
}

#[tokio::test]
async fn a_flag_is_defined_set_verified_and_restored() {
    let mut fixture = flag(json!({"percentage": 25.5}));
    let before = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(before.verdict, Verdict::Fail);
    let outcome = fixture.execute().await;
    assert_eq!(
        (outcome.verdict, outcome.effect),
        (Verdict::Pass, true),
        "{outcome:?}"
    );
    assert_eq!(outcome.message, "flag NEW_COSTS is 25.5 %, was off");
    let again = fixture.execute().await;
    assert_eq!(
        again.verdict,
        Verdict::Pass,
        "setting it twice changes nothing"
    );
    let after = executor::verify(&fixture.step, &fixture.context)
        .await
        .unwrap();
    assert_eq!(after.verdict, Verdict::Pass);

    let undone = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(undone.verdict, Verdict::Pass, "{undone:?}");
    let mode = |fixture: &Fixture| {
        let flags = fixture.flags.0.lock().unwrap();
        flags.values().next().unwrap().0.setting.mode()
    };
    assert_eq!(mode(&fixture), FlagMode::Off, "the value before the step");

    fixture.execute().await;
    fixture.context.facts = Arc::new(Facts {
        rollback: Some(RollbackLevel::Flags),
        ..Facts::default()
    });
    executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(
        mode(&fixture),
        FlagMode::Parallel,
        "an instant rollback writes the safe value"
    );
}

#[tokio::test]
async fn a_flag_that_somebody_changed_meanwhile_is_left_as_it_is() {
    for level in [RollbackLevel::Full, RollbackLevel::Flags] {
        let mut fixture = flag(json!("on"));
        fixture.execute().await;
        let off = executor::setting_of(&FlagTarget::Off, &FlagTarget::Off);
        let somebody = FlagCause {
            rollout: "another".parse().unwrap(),
            step: fixture.context.step.clone(),
            request: "r".to_owned(),
            reason: "the page is red".to_owned(),
            causation_id: String::new(),
        };
        let key = "NEW_COSTS".parse().unwrap();
        let environment = &fixture.context.environment;
        let flags = &fixture.context.tools.flags;
        flags
            .set(environment, &key, off, None, &somebody)
            .await
            .unwrap();
        fixture.context.facts = Arc::new(Facts {
            rollback: Some(level),
            ..Facts::default()
        });
        let undone = executor::undo(&fixture.step, &fixture.context).await;
        assert_eq!(undone.verdict, Verdict::Pass, "{undone:?}");
        assert!(undone.message.contains("left as it is"), "{undone:?}");
        let flags = fixture.flags.0.lock().unwrap();
        let (reading, history) = flags.values().next().unwrap();
        assert_eq!(reading.setting.mode(), FlagMode::Off);
        assert_eq!(history.len(), 2, "nothing was written");
    }
}

#[tokio::test]
async fn an_undo_is_verified() {
    for (more, verdict, verification) in [
        (
            json!({}),
            Verdict::Inconclusive,
            UndoVerification::NotVerified,
        ),
        (
            json!({"verify": {"run": {"command": "true"}}}),
            Verdict::Fail,
            UndoVerification::Stands,
        ),
        (
            json!({"verify": {"run": {"command": "false"}}}),
            Verdict::Pass,
            UndoVerification::Verified,
        ),
        (
            json!({"verify": {"run": {"command": "true"}},
                   "undo": {"run": {"command": "true"}, "verify": {"run": {"command": "true"}}}}),
            Verdict::Pass,
            UndoVerification::Verified,
        ),
        (
            json!({"undo": {"run": {"command": "true"}, "verify": {"run": {"command": "false"}}}}),
            Verdict::Fail,
            UndoVerification::Stands,
        ),
    ] {
        let mut step = json!({"run": {"command": "true"}, "undo": {"run": {"command": "true"}}});
        for (key, value) in more.as_object().unwrap() {
            step[key] = value.clone();
        }
        let mut fixture = Fixture::new(step);
        fixture.context.facts = Arc::new(Facts {
            has_passed: true,
            ..Facts::default()
        });
        let undone = executor::undo(&fixture.step, &fixture.context).await;
        let found = undone.verification.clone().map(|(found, _)| found);
        assert_eq!(
            (undone.verdict, found),
            (verdict, Some(verification)),
            "{more}: {undone:?}"
        );
    }
}

#[tokio::test]
async fn a_verify_that_never_passed_does_not_prove_the_effect_gone() {
    let fixture = Fixture::new(json!({
        "run": {"command": "touch half; exit 3"},
        "verify": {"run": {"command": "test -e whole"}},
        "undo": {"run": {"command": "true"}},
    }));
    let undone = executor::undo(&fixture.step, &fixture.context).await;
    assert_eq!(undone.verdict, Verdict::Inconclusive, "{undone:?}");
    assert_eq!(
        undone.verification.map(|(found, _)| found),
        Some(UndoVerification::NotVerified)
    );
    assert!(
        undone
            .message
            .contains("did not pass before the undo either"),
        "{}",
        undone.message
    );
}
