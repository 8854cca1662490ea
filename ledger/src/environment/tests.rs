//! Every rule of environments as given / when / then.

use std::collections::BTreeMap;

use rollbook_proto::v1::{self, event::Kind};
use serde_json::json;

use super::*;
use crate::clock::to_proto;
use crate::error_code::Coded;
use crate::ids::{EnvironmentId, RolloutId};

fn name() -> EnvironmentId {
    EnvironmentId::new("prod").unwrap()
}

fn set(command: serde_json::Value) -> EnvironmentCommand {
    let mut whole = json!({"command": "set", "reason": "because"});
    for (key, value) in command.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn accept(revision: u32) -> EnvironmentCommand {
    EnvironmentCommand::Accept { revision }
}

#[derive(Default)]
struct Story(Option<EnvironmentState>);

impl Story {
    fn decide(
        &self,
        by: &str,
        command: &EnvironmentCommand,
    ) -> Result<Vec<v1::Event>, EnvironmentRefusal> {
        let actor = person(by);
        let id = format!("c{}", self.0.as_ref().map_or(0, |state| state.sequence));
        decide(self.0.as_ref(), &name(), command, &actor, &id)
    }

    fn and(self, by: &str, command: &EnvironmentCommand) -> Self {
        let events = self.decide(by, command).unwrap();
        assert!(!events.is_empty());
        self.apply(by, events)
    }

    fn apply(self, by: &str, events: Vec<v1::Event>) -> Self {
        let last = self.0.as_ref().map_or(0, |state| state.sequence);
        let commit = v1::Commit {
            aggregate: "environment".to_owned(),
            aggregate_id: "prod".to_owned(),
            command_id: format!("c{last}"),
            actor: Some(person(by)),
            recorded_at: Some(to_proto(jiff::Timestamp::UNIX_EPOCH)),
            previous_sequence: last,
            events,
            ..v1::Commit::default()
        };
        Self(Some(evolve(self.0, &commit, last + 1).unwrap()))
    }

    fn refused(&self, by: &str, command: &EnvironmentCommand, code: &str) {
        let refusal = self.decide(by, command).unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
    }
}

fn person(name: &str) -> v1::Actor {
    v1::Actor {
        name: name.to_owned(),
        kind: v1::ActorKind::Person.into(),
        authentication: "asserted".to_owned(),
    }
}

fn protected() -> Story {
    Story::default().and(
        "alice",
        &set(json!({"protected": true, "roles": {"ops": ["alice", "bob"]}})),
    )
}

#[test]
fn the_first_record_holds_at_once_and_every_other_takes_two_persons_of_its_roles() {
    let story = protected();
    let more = set(json!({"roles": {"ops": ["alice", "bob", "mallory"]}}));
    story.refused("mallory", &more, "RB-ENVIRONMENT-2");
    let story = story.and("alice", &more);
    assert!(!story.0.as_ref().unwrap().has_person("mallory"), "not yet");
    story.refused(
        "bob",
        &set(json!({"roles": {"x": ["y"]}})),
        "RB-ENVIRONMENT-4",
    );
    story.refused("alice", &accept(2), "RB-ENVIRONMENT-3");
    story.refused("mallory", &accept(2), "RB-ENVIRONMENT-2");
    story.refused("bob", &accept(3), "RB-ENVIRONMENT-5");
    let story = story.and("bob", &accept(2));
    let state = story.0.as_ref().unwrap();
    assert!(state.has_person("mallory") && state.terms.protected && state.revision == 2);
    assert!(story.decide("bob", &accept(2)).unwrap().is_empty(), "again");
}

#[test]
fn protected_is_sticky() {
    let story = protected().and("alice", &set(json!({"roles": {"ops": ["bob", "carol"]}})));
    let story = story.and("bob", &accept(2));
    assert!(story.0.as_ref().unwrap().terms.protected);
    let story = story.and("bob", &set(json!({"protected": false})));
    assert!(
        story.0.as_ref().unwrap().terms.protected,
        "until it is accepted"
    );
    let story = story.and("carol", &accept(3));
    assert!(!story.0.as_ref().unwrap().terms.protected);
}

#[test]
fn a_proposal_can_be_withdrawn_and_invalid_terms_are_refused() {
    let story = protected().and("alice", &set(json!({"protected": false})));
    let withdraw = EnvironmentCommand::Withdraw {
        revision: 2,
        reason: "no".to_owned(),
    };
    story.refused("mallory", &withdraw, "RB-ENVIRONMENT-2");
    let story = story.and("bob", &withdraw);
    assert_eq!(story.0.as_ref().unwrap().pending, None);
    for terms in [
        json!({"roles": {}}),
        json!({"roles": {"ops": []}}),
        json!({"roles": {"ops": ["a", "a"]}}),
        json!({"roles": {"ops": [" a"]}}),
        json!({"roles": {"ops": ["alone"]}}),
        json!({"roles": {"ops": ["ame\u{301}lie", "am\u{e9}lie"]}}),
        json!({"break_glass": {"verbs": ["start"], "review_within": "1h"}}),
        json!({"break_glass": {"verbs": ["abort"], "roles": ["none"], "review_within": "1h"}}),
        json!({"break_glass": {"verbs": ["abort"], "review_within": "0s"}}),
    ] {
        story.refused("alice", &set(terms), "RB-ENVIRONMENT-6");
    }
    assert!(story.decide("alice", &set(json!({}))).unwrap().is_empty());
    let none = Story::default();
    none.refused(
        "alice",
        &set(json!({"protected": true})),
        "RB-ENVIRONMENT-6",
    );
    none.refused("alice", &accept(1), "RB-ENVIRONMENT-1");
}

#[test]
fn terms_survive_the_wire_and_show_what_they_change() {
    let before = Terms {
        protected: true,
        roles: BTreeMap::from([("ops".to_owned(), vec!["a".to_owned()])]),
        break_glass: None,
    };
    let after = Terms {
        protected: false,
        roles: BTreeMap::from([("dba".to_owned(), vec!["d".to_owned()])]),
        break_glass: serde_json::from_value(
            json!({"verbs": ["abort"], "roles": ["dba"], "review_within": "90m"}),
        )
        .unwrap(),
    };
    assert_eq!(Terms::from_wire(&after.to_wire()), Some(after.clone()));
    assert_eq!(
        difference(&before, &after),
        [
            "protected: true → false",
            "new role dba: d",
            "role ops: a → gone",
            "break glass: never → abort by dba, reviewed within 1h30m",
        ]
    );
}

#[test]
fn the_first_rollout_records_it_once() {
    let terms = Terms {
        protected: true,
        roles: BTreeMap::from([("ops".to_owned(), vec!["alice".to_owned()])]),
        break_glass: None,
    };
    let rollout = RolloutId::new("r1").unwrap();
    let events = record(None, &name(), &terms, &rollout).unwrap();
    assert!(matches!(
        &events[0].kind,
        Some(Kind::EnvironmentRecorded(recorded)) if recorded.rollout_id == "r1"
    ));
    let story = Story::default().apply("alice", events);
    assert!(
        record(story.0.as_ref(), &name(), &Terms::default(), &rollout)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_invisible_reason_is_no_reason() {
    let terms = |reason: &str, persons: &[&str]| {
        set(json!({"reason": reason, "protected": true, "roles": {"ops": persons}}))
    };
    let recorded = Story::default().and("alice", &terms("set up", &["alice", "bob"]));
    let proposed = Story::default()
        .and("alice", &terms("set up", &["alice", "bob"]))
        .and("alice", &terms("carol joined", &["alice", "bob", "carol"]));
    for blank in [
        "",
        "  ",
        "\t\r\n",
        "\u{a0}\u{3000}",
        "\u{200b}\u{3000}\u{feff}",
    ] {
        let first = terms(blank, &["alice", "bob"]);
        Story::default().refused("alice", &first, "RB-ENVIRONMENT-6");
        let change = terms(blank, &["alice", "bob", "carol"]);
        recorded.refused("alice", &change, "RB-ENVIRONMENT-6");
        let withdraw = EnvironmentCommand::Withdraw {
            revision: 2,
            reason: blank.to_owned(),
        };
        proposed.refused("bob", &withdraw, "RB-ENVIRONMENT-6");
    }
}
