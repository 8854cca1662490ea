//! Who may write a flag in a protected environment.

use super::*;
use crate::authority::Roles;
use crate::environment::{self, EnvironmentState, Terms};
use crate::error_code::Coded;

fn protected() -> EnvironmentState {
    let terms = Terms {
        protected: true,
        roles: Roles::from([("ops".to_owned(), vec!["alice".to_owned(), "bob".to_owned()])]),
        break_glass: serde_json::from_value(
            serde_json::json!({"verbs": ["flag_on"], "review_within": "1h"}),
        )
        .unwrap(),
    };
    let commit = v1::Commit {
        aggregate: "environment".to_owned(),
        aggregate_id: "production".to_owned(),
        recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
        events: vec![v1::Event {
            kind: Some(Kind::EnvironmentRecorded(v1::EnvironmentRecorded {
                name: "production".to_owned(),
                terms: Some(terms.to_wire()),
                ..v1::EnvironmentRecorded::default()
            })),
        }],
        ..v1::Commit::default()
    };
    environment::evolve(None, &commit, 1).unwrap()
}

fn ask(
    state: Option<&FlagState>,
    by: &str,
    command: &FlagCommand,
) -> Result<Vec<v1::Event>, FlagRefusal> {
    let record = protected();
    let actor = v1::Actor {
        name: by.to_owned(),
        kind: v1::ActorKind::Person.into(),
        authentication: "asserted".to_owned(),
    };
    let id = format!("command-{}", state.map_or(0, |state| state.sequence));
    let asked = Asked {
        actor: &actor,
        now: jiff::Timestamp::UNIX_EPOCH,
        command_id: &id,
        environment: Some(&record),
    };
    decide(state, &environment(), &key(), command, &asked)
}

fn apply(state: FlagState, by: &str, events: Vec<v1::Event>) -> FlagState {
    let sequence = state.sequence + 1;
    let commit = v1::Commit {
        aggregate: "flag".to_owned(),
        aggregate_id: "production/DEAL_TYPE_AWARENESS".to_owned(),
        command_id: format!("command-{}", state.sequence),
        actor: Some(v1::Actor {
            name: by.to_owned(),
            kind: v1::ActorKind::Person.into(),
            authentication: String::new(),
        }),
        recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
        previous_sequence: state.sequence,
        events,
        ..v1::Commit::default()
    };
    evolve(Some(state), &commit, sequence).unwrap()
}

fn kinds(events: &[v1::Event]) -> Vec<&'static str> {
    events.iter().map(crate::journal::event_type).collect()
}

#[test]
fn a_stranger_can_neither_set_a_flag_nor_switch_it_off() {
    let flag = defined().state().clone();
    for command in [
        define(),
        set(setting(FlagMode::On)),
        set(setting(FlagMode::Off)),
        safe("x"),
        archive(),
    ] {
        let refusal = ask(Some(&flag), "mallory", &command).unwrap_err();
        assert_eq!(refusal.code(), "RB-FLAG-7", "{refusal}");
        assert_eq!(refusal.kind(), crate::rollout::RefusalKind::NotAllowed);
    }
    assert!(ask(None, "mallory", &define()).is_err());
    assert_eq!(
        kinds(&ask(None, "alice", &define()).unwrap()),
        ["flag_defined"]
    );
}

#[test]
fn switching_on_takes_two_persons_and_switching_off_one() {
    let on = set(setting(FlagMode::On));
    let events = ask(Some(defined().state()), "alice", &on).unwrap();
    assert_eq!(kinds(&events), ["request_made"]);
    let flag = apply(defined().state().clone(), "alice", events);
    assert_eq!(flag.setting, setting(FlagMode::Off), "nothing is done yet");
    let request = flag.requests.iter().next().unwrap().id.clone();
    let confirm = FlagCommand::Confirm { request };
    assert_eq!(
        ask(Some(&flag), "alice", &confirm).unwrap_err().code(),
        "RB-FLAG-8"
    );
    assert_eq!(
        ask(Some(&flag), "eve", &confirm).unwrap_err().code(),
        "RB-FLAG-7"
    );
    assert_eq!(
        ask(Some(&flag), "bob", &on).unwrap_err().code(),
        "RB-FLAG-9"
    );
    let events = ask(Some(&flag), "bob", &confirm).unwrap();
    assert_eq!(kinds(&events), ["request_confirmed", "flag_changed"]);
    let flag = apply(flag, "bob", events);
    assert_eq!(flag.setting, setting(FlagMode::On));
    assert!(flag.requests.is_empty());
    for back in [safe("costs are off"), set(setting(FlagMode::Off))] {
        assert_eq!(
            kinds(&ask(Some(&flag), "alice", &back).unwrap()),
            ["flag_changed"]
        );
    }
    assert!(ask(Some(&flag), "bob", &confirm).is_err(), "once only");
}

#[test]
fn a_change_voids_requests_made_on_the_state_before() {
    let flag = defined().and(&set(percent(10_000))).state().clone();
    let events = ask(Some(&flag), "alice", &set(setting(FlagMode::On))).unwrap();
    let flag = apply(flag, "alice", events);
    let events = ask(Some(&flag), "bob", &safe("stop")).unwrap();
    assert_eq!(kinds(&events), ["flag_changed", "request_ended"]);
    let flag = apply(flag, "bob", events);
    assert!(flag.requests.is_empty());
}

#[test]
fn requests_expire() {
    let on = set(setting(FlagMode::On));
    let events = ask(Some(defined().state()), "alice", &on).unwrap();
    let flag = apply(defined().state().clone(), "alice", events);
    assert!(settle(&flag, jiff::Timestamp::UNIX_EPOCH).is_empty());
    let later = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24);
    assert_eq!(kinds(&settle(&flag, later)), ["request_ended"]);
}

#[test]
fn break_glass_acts_at_once_and_somebody_else_reviews_it() {
    let glass = FlagCommand::BreakGlass {
        of: Box::new(set(setting(FlagMode::On))),
    };
    let flag = defined().state().clone();
    assert!(ask(Some(&flag), "mallory", &glass).is_err());
    let events = ask(Some(&flag), "alice", &glass).unwrap();
    assert_eq!(kinds(&events), ["glass_broken", "flag_changed"]);
    let flag = apply(flag, "alice", events);
    assert_eq!(flag.setting, setting(FlagMode::On));
    let review = FlagCommand::Review {
        review: flag.reviews.iter().next().unwrap().id.clone(),
        agreed: true,
        note: "looked".to_owned(),
    };
    assert_eq!(
        ask(Some(&flag), "alice", &review).unwrap_err().code(),
        "RB-FLAG-8"
    );
    let events = ask(Some(&flag), "bob", &review).unwrap();
    assert!(apply(flag, "bob", events).reviews.is_empty());
    let off = FlagCommand::BreakGlass {
        of: Box::new(safe("x")),
    };
    let refusal = ask(Some(defined().state()), "alice", &off).unwrap_err();
    assert_eq!(refusal.code(), "RB-FLAG-10");
}

#[test]
fn nobody_switches_on_alone_through_the_safe_value() {
    let on = setting(FlagMode::On);
    let defined = FlagCommand::Define {
        description: "kill switch".to_owned(),
        owner: "eng".to_owned(),
        safe: on.clone(),
        initial: setting(FlagMode::Off),
        retire_by: String::new(),
        salt: None,
    };
    let off = Story::default().and(&defined);
    for command in [safe("go"), set(on)] {
        let events = ask(Some(off.state()), "alice", &command).unwrap();
        assert_eq!(kinds(&events), ["request_made"], "{command:?}");
    }
}

#[test]
fn an_invisible_reason_is_refused() {
    let unseen = safe("\u{200b}\u{2060}");
    let refusal = ask(Some(defined().state()), "alice", &unseen).unwrap_err();
    assert_eq!(refusal.code(), "RB-FLAG-4", "{refusal}");
}

#[test]
fn a_person_cannot_act_in_the_name_of_a_step() {
    let flag = defined().state().clone();
    let off = setting(FlagMode::Off);
    let forged = [
        FlagCommand::Set {
            to: off.clone(),
            reason: "x".to_owned(),
            rollout: Some("r1".parse().unwrap()),
            step: None,
            expect: None,
        },
        FlagCommand::Safe {
            reason: "x".to_owned(),
            rollout: None,
            step: Some("1.3".parse().unwrap()),
        },
    ];
    for command in forged {
        let broken = FlagCommand::BreakGlass {
            of: Box::new(command.clone()),
        };
        for command in [command, broken] {
            let refusal = ask(Some(&flag), "alice", &command).unwrap_err();
            assert_eq!(refusal.code(), "RB-FLAG-12", "{refusal}");
        }
    }
}
