//! Every rule of flags as given / when / then.

use proptest::prelude::*;
use rollbook_proto::v1::{self, FlagMode, event::Kind};

use super::*;
use crate::clock::to_proto;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, FlagKey};
use crate::journal::StoredCommit;

mod authority;

fn setting(mode: FlagMode) -> v1::FlagSetting {
    v1::FlagSetting {
        mode: mode.into(),
        ..v1::FlagSetting::default()
    }
}

fn percent(percentage_millis: u32) -> v1::FlagSetting {
    v1::FlagSetting {
        percentage_millis,
        ..setting(FlagMode::Percentage)
    }
}

fn beta(labels: &[&str]) -> v1::FlagSetting {
    v1::FlagSetting {
        beta_labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        ..setting(FlagMode::Beta)
    }
}

fn define() -> FlagCommand {
    FlagCommand::Define {
        description: "new path".to_owned(),
        owner: "eng".to_owned(),
        safe: setting(FlagMode::Off),
        initial: setting(FlagMode::Off),
        retire_by: "2026-12-31".to_owned(),
        salt: None,
    }
}

fn set(to: v1::FlagSetting) -> FlagCommand {
    FlagCommand::Set {
        to,
        reason: "week 2".to_owned(),
        rollout: None,
        step: None,
        expect: None,
    }
}

fn safe(reason: &str) -> FlagCommand {
    FlagCommand::Safe {
        reason: reason.to_owned(),
        rollout: None,
        step: None,
    }
}

fn archive() -> FlagCommand {
    FlagCommand::Archive {
        reason: "graduated".to_owned(),
    }
}

#[derive(Debug, Clone, Default)]
struct Story {
    commits: Vec<StoredCommit>,
    state: Option<FlagState>,
}

struct Outcome(Story, Result<Vec<v1::Event>, FlagRefusal>);

fn environment() -> EnvironmentId {
    EnvironmentId::new("production").unwrap()
}

fn key() -> FlagKey {
    FlagKey::new("DEAL_TYPE_AWARENESS").unwrap()
}

impl Story {
    fn when(self, command: &FlagCommand) -> Outcome {
        let id = format!("command-{}", self.commits.len());
        // Only steps name the rollout that changes a flag.
        let kind = match command {
            FlagCommand::Set {
                rollout: Some(_), ..
            } => v1::ActorKind::Worker,
            _ => v1::ActorKind::Person,
        };
        let alice = v1::Actor {
            name: "alice".to_owned(),
            kind: kind.into(),
            authentication: "asserted".to_owned(),
        };
        let asked = Asked {
            actor: &alice,
            now: jiff::Timestamp::UNIX_EPOCH,
            command_id: &id,
            environment: None,
        };
        let result = decide(self.state.as_ref(), &environment(), &key(), command, &asked);
        Outcome(self, result)
    }

    fn and(self, command: &FlagCommand) -> Self {
        let outcome = self.when(command);
        let count = outcome.1.as_ref().unwrap().len();
        outcome.then(count)
    }

    fn state(&self) -> &FlagState {
        self.state.as_ref().unwrap()
    }
}

impl Outcome {
    fn then(mut self, count: usize) -> Story {
        let events = self.1.unwrap();
        assert_eq!(events.len(), count, "{events:?}");
        if count > 0 {
            let sequence = self.0.commits.len() as u64 + 1;
            let commit = v1::Commit {
                aggregate: "flag".to_owned(),
                aggregate_id: "production/DEAL_TYPE_AWARENESS".to_owned(),
                command_id: format!("command-{}", self.0.commits.len()),
                recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
                previous_sequence: sequence - 1,
                events,
                ..v1::Commit::default()
            };
            self.0.state = Some(evolve(self.0.state.take(), &commit, sequence).unwrap());
            self.0.commits.push(StoredCommit::new(
                sequence,
                jiff::Timestamp::UNIX_EPOCH,
                commit,
            ));
        }
        assert_eq!(fold(&self.0.commits).unwrap(), self.0.state);
        self.0
    }

    fn refused(self, code: &str, says: &str) -> Story {
        let refusal = self.1.unwrap_err();
        let text = refusal.to_string();
        assert_eq!(refusal.code(), code);
        assert!(text.starts_with(&format!("{code}: ")), "{text}");
        assert!(text.contains(says), "{text}");
        self.0
    }
}

fn defined() -> Story {
    Story::default().when(&define()).then(1)
}

fn ask(story: &Story, targeting_key: Option<&str>, labels: &[&str]) -> (bool, &'static str) {
    let labels: Vec<String> = labels.iter().map(|l| (*l).to_owned()).collect();
    let found = evaluate(
        story.state(),
        &EvaluationContext {
            targeting_key,
            labels: &labels,
        },
    )
    .unwrap();
    (found.value, found.reason.as_str())
}

#[test]
fn a_flag_is_defined_once_and_keeps_its_algorithm() {
    let story = defined().when(&define()).then(0);
    assert_eq!(story.state().bucketing, "flagd-fractional-v3");
    assert_eq!(story.state().salt, "DEAL_TYPE_AWARENESS");
    let mut other = define();
    if let FlagCommand::Define { safe, .. } = &mut other {
        *safe = setting(FlagMode::On);
    }
    story.when(&other).refused("RB-FLAG-2", "safe value");
    Story::default()
        .when(&set(setting(FlagMode::On)))
        .refused("RB-FLAG-1", "define it first")
        .when(&archive())
        .refused("RB-FLAG-1", "production");
}

#[test]
fn invalid_definitions_are_refused() {
    let bad = |change: &dyn Fn(&mut String, &mut String, &mut String)| {
        let mut command = define();
        if let FlagCommand::Define {
            description,
            owner,
            retire_by,
            ..
        } = &mut command
        {
            change(description, owner, retire_by);
        }
        command
    };
    Story::default()
        .when(&bad(&|d, _, _| d.clear()))
        .refused("RB-FLAG-6", "description")
        .when(&bad(&|_, o, _| *o = "x".repeat(5_000)))
        .refused("RB-FLAG-6", "5000 bytes")
        .when(&bad(&|_, _, r| *r = "soon".to_owned()))
        .refused("RB-FLAG-6", "`soon` is not a date");
}

#[test]
fn every_change_needs_a_reason_and_the_same_value_is_no_change() {
    let mut silent = set(setting(FlagMode::On));
    if let FlagCommand::Set { reason, .. } = &mut silent {
        *reason = " ".to_owned();
    }
    let story = defined()
        .when(&silent)
        .refused("RB-FLAG-4", "reason")
        .when(&set(setting(FlagMode::On)))
        .then(1)
        .when(&set(setting(FlagMode::On)))
        .then(0)
        .when(&safe(""))
        .refused("RB-FLAG-4", "reason")
        .when(&safe("costs are wrong"))
        .then(1)
        .when(&safe("costs are wrong"))
        .then(0);
    assert_eq!(story.state().setting, setting(FlagMode::Off));
    assert_eq!(story.state().reason, "costs are wrong");
}

#[test]
fn invalid_settings_are_refused() {
    let cases = [
        (v1::FlagSetting::default(), "no mode"),
        (
            v1::FlagSetting {
                mode: 77,
                ..v1::FlagSetting::default()
            },
            "no mode",
        ),
        (percent(100_001), "100001"),
        (
            v1::FlagSetting {
                percentage_millis: 5,
                ..setting(FlagMode::On)
            },
            "takes no percentage",
        ),
        (
            v1::FlagSetting {
                beta_labels: vec!["x".to_owned()],
                ..setting(FlagMode::On)
            },
            "takes no labels",
        ),
        (beta(&[]), "1 to 100"),
        (beta(&["a", "a"]), "1 of 2"),
        (beta(&[" a"]), "padded"),
    ];
    for (to, says) in cases {
        defined().when(&set(to)).refused("RB-FLAG-5", says);
    }
}

#[test]
fn an_archived_flag_does_not_change_or_evaluate() {
    let story = defined()
        .when(&archive())
        .then(1)
        .when(&archive())
        .then(0)
        .when(&set(setting(FlagMode::On)))
        .refused("RB-FLAG-3", "graduated")
        .when(&define())
        .refused("RB-FLAG-3", "graduated");
    let error = evaluate(story.state(), &EvaluationContext::default()).unwrap_err();
    assert_eq!(error.ofrep_code(), "FLAG_NOT_FOUND");
}

#[test]
fn a_command_id_is_applied_once() {
    let story = defined().and(&set(setting(FlagMode::On)));
    let mut again = story.commits.last().unwrap().commit.clone();
    again.previous_sequence = story.state().sequence;
    let error = evolve(story.state.clone(), &again, story.state().sequence + 1).unwrap_err();
    assert!(error.to_string().contains("applied before"), "{error}");
}

#[test]
fn each_mode_answers_with_its_reason() {
    let story = defined();
    assert_eq!(ask(&story, None, &[]), (false, "DISABLED"));
    let story = story.and(&set(beta(&["beta-test"])));
    assert_eq!(
        ask(&story, None, &["x", "beta-test"]),
        (true, "TARGETING_MATCH")
    );
    assert_eq!(ask(&story, None, &[]), (false, "DEFAULT"));
    let story = story.and(&set(setting(FlagMode::Parallel)));
    assert_eq!(ask(&story, None, &[]), (false, "STATIC"));
    let story = story.and(&set(setting(FlagMode::On)));
    assert_eq!(ask(&story, None, &[]), (true, "STATIC"));
    // At 0 and 100 % no targeting key is needed.
    let story = story.and(&set(percent(0)));
    assert_eq!(ask(&story, None, &[]), (false, "SPLIT"));
    let story = story.and(&set(percent(100_000)));
    assert_eq!(ask(&story, None, &[]), (true, "SPLIT"));
    let story = story.and(&set(percent(50_000)));
    assert_eq!(ask(&story, Some("alice"), &[]), (true, "SPLIT"));
    assert_eq!(ask(&story, Some("deal-1042"), &[]), (false, "SPLIT"));
    for missing in [None, Some("")] {
        let context = EvaluationContext {
            targeting_key: missing,
            labels: &[],
        };
        let error = evaluate(story.state(), &context).unwrap_err();
        assert_eq!(error.ofrep_code(), "TARGETING_KEY_MISSING");
    }
    let mut newer = story.state().clone();
    newer.bucketing = "flagd-fractional-v9".to_owned();
    let context = EvaluationContext {
        targeting_key: Some("alice"),
        labels: &[],
    };
    assert_eq!(
        evaluate(&newer, &context).unwrap_err().ofrep_code(),
        "GENERAL"
    );
}

#[test]
fn buckets_are_those_of_flagd() {
    // Computed with the published `openfeature-flagd-core` 2.0.0 (PyPI), whose `fractional` is
    // version 3; each was also checked at the boundary: off at this percentage, on one above.
    let k300 = "k".repeat(300);
    let a24 = "a".repeat(24);
    for (salt, key, expected) in [
        ("DEAL_TYPE_AWARENESS", "alice", 300),
        ("DEAL_TYPE_AWARENESS", "bob", 28_093),
        ("DEAL_TYPE_AWARENESS", "deal-1042", 77_986),
        ("f", "x", 59_403),
        ("new.path", "user@example.com", 16_942),
        ("ENABLE_CAR_NUMBER", "שלום", 42_201),
        ("flag", "水", 24_364),
        (a24.as_str(), "k", 75_372),
        ("s", k300.as_str(), 5_726),
        ("flag-1", "0", 66_316),
    ] {
        assert_eq!(bucket(salt, key), expected, "{salt} {key}");
    }
}

proptest! {
    #[test]
    fn raising_a_percentage_drops_nobody(key in "\\PC{1,40}", low in 0_u32..=100_000, high in 0_u32..=100_000) {
        let (low, high) = (low.min(high), low.max(high));
        let at = |percentage| {
            let story = defined().and(&set(percent(percentage)));
            ask(&story, Some(&key), &[]).0
        };
        prop_assert!(!at(low) || at(high));
    }

    #[test]
    fn random_histories_fold_and_shuffled_ones_yield_typed_errors(
        picks in prop::collection::vec(0_usize..7, 0..20),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let commands = [
            define(), set(setting(FlagMode::On)), set(percent(5_000)), set(beta(&["a"])),
            safe("back"), archive(), set(percent(200_000)),
        ];
        let mut story = defined();
        for pick in picks {
            let outcome = story.clone().when(&commands[pick]);
            if let Ok(events) = &outcome.1 {
                let count = events.len();
                story = outcome.then(count);
            }
        }
        let mut shuffled = story.commits.clone();
        let (from, to) = (from.index(shuffled.len()), to.index(shuffled.len()));
        shuffled.swap(from, to);
        if shuffled != story.commits {
            let error = fold(&shuffled).unwrap_err();
            prop_assert!(error.to_string().starts_with("RB-FLAG-3"), "{}", error);
        }
        // The same event a second time, with a matching previous sequence.
        if let (Some(last), Some(state)) = (story.commits.last(), &story.state) {
            let mut again = last.commit.clone();
            again.previous_sequence = state.sequence;
            again.command_id = "again".to_owned();
            prop_assert!(evolve(Some(state.clone()), &again, state.sequence + 1).is_err());
        }
    }
}

#[test]
fn foreign_events_yield_typed_errors() {
    let story = defined();
    let state = story.state().clone();
    let commit = |events: Vec<v1::Event>, id: &str| v1::Commit {
        aggregate: "flag".to_owned(),
        aggregate_id: id.to_owned(),
        recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
        previous_sequence: 1,
        events,
        ..v1::Commit::default()
    };
    let paused = v1::Event {
        kind: Some(Kind::RolloutPaused(v1::RolloutPaused::default())),
    };
    let ours = "production/DEAL_TYPE_AWARENESS";
    for (events, id, code) in [
        (vec![paused.clone()], ours, "RB-FLAG-33"),
        (vec![paused], "staging/DEAL_TYPE_AWARENESS", "RB-FLAG-30"),
        (vec![], ours, "RB-FLAG-32"),
        (vec![v1::Event::default()], ours, "RB-FLAG-33"),
    ] {
        let error = evolve(Some(state.clone()), &commit(events, id), 2).unwrap_err();
        assert!(error.to_string().starts_with(code), "{error}");
    }
}

#[test]
fn commands_read_as_the_api_sends_them() {
    let text = r#"{"command":"set","to":{"mode":"PERCENTAGE","percentageMillis":50000},"reason":"week 3"}"#;
    let command: FlagCommand = serde_json::from_str(text).unwrap();
    assert!(matches!(command, FlagCommand::Set { to, .. } if to == percent(50_000)));
    assert!(serde_json::from_str::<FlagCommand>(r#"{"command":"safe"}"#).is_err());
}

fn by_rollout(to: v1::FlagSetting, step: &str) -> FlagCommand {
    FlagCommand::Set {
        to,
        reason: "the plan".to_owned(),
        rollout: Some("r1".parse().unwrap()),
        step: Some(step.parse().unwrap()),
        expect: None,
    }
}

#[test]
fn a_value_is_written_only_where_it_is_what_was_expected() {
    let expecting = |expect| match set(setting(FlagMode::On)) {
        FlagCommand::Set { to, reason, .. } => FlagCommand::Set {
            to,
            reason,
            rollout: None,
            step: None,
            expect: Some(expect),
        },
        other => other,
    };
    let story = Story::default().and(&define());
    let refused = story
        .clone()
        .when(&expecting(setting(FlagMode::Parallel)))
        .1
        .unwrap_err();
    assert_eq!(refused.code(), "RB-FLAG-11");
    story.and(&expecting(setting(FlagMode::Off)));
}

/// Returns what undoing means for a step that made this change, after this history.
fn back(story: &Story, step: &str, target: &v1::FlagSetting, to_safe: bool) -> FlagUndo {
    let change = ChangeToUndo {
        rollout: &"r1".parse().unwrap(),
        step: &step.parse().unwrap(),
        target,
        to_safe,
    };
    let state = story.state();
    flag_undo(&story.commits, &state.setting, &state.safe, &change)
}

#[test]
fn a_step_is_undone_only_while_its_value_is_in_force() {
    let on = setting(FlagMode::On);
    let story = Story::default()
        .and(&define())
        .and(&by_rollout(percent(50_000), "1"))
        .and(&by_rollout(on.clone(), "2"));
    assert_eq!(
        back(&story, "2", &on, false),
        FlagUndo::Write(percent(50_000))
    );
    assert!(
        matches!(
            back(&story, "1", &percent(50_000), false),
            FlagUndo::LeaveOn(_)
        ),
        "it is on, and that is not this step's doing"
    );
    let off = setting(FlagMode::Off);
    assert_eq!(back(&story, "2", &on, true), FlagUndo::Write(off.clone()));
    let stopped = story.and(&safe("the page is red"));
    for (step, target, to_safe) in [
        ("1", percent(50_000), false),
        ("2", on, false),
        ("2", off, true),
    ] {
        let way = back(&stopped, step, &target, to_safe);
        assert!(matches!(way, FlagUndo::Leave(_)), "{step} {way:?}");
    }
}

#[test]
fn switching_off_a_flag_that_a_rollout_switched_off_is_recorded_and_stays() {
    let (on, off) = (setting(FlagMode::On), setting(FlagMode::Off));
    let story = Story::default()
        .and(&define())
        .and(&set(on.clone()))
        .and(&by_rollout(off.clone(), "1"));
    assert_eq!(back(&story, "1", &off, false), FlagUndo::Write(on));
    let held = story.when(&set(off.clone())).then(1);
    assert!(matches!(back(&held, "1", &off, false), FlagUndo::Leave(_)));
    held.when(&set(off)).then(0);
}
