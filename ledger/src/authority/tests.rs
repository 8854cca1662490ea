//! The authority table: who may do what, in rollouts and environments of every kind.

use serde_json::json;

use super::*;
use crate::environment::Terms;
use crate::runbook::Runbook;

fn plan(authority: serde_json::Value) -> Plan {
    let mut runbook = json!({
        "apiVersion": "rollbook/v1", "kind": "Runbook",
        "metadata": {"name": "r", "version": "1", "owner": "me"},
        "environments": {"local": {}, "prod": {"protected": true}},
        "roles": {"eng": ["alice", "bob"], "lead": ["lee", "lou"]},
        "phases": [{"id": "1", "title": "One", "steps": [
            {"id": "1.1", "title": "Go", "run": {"command": "true"}, "changes": "nothing"}
        ]}]
    });
    if !authority.is_null() {
        runbook["authority"] = authority;
    }
    let runbook: Runbook = serde_json::from_value(runbook).unwrap();
    Plan::from_runbook(runbook, BTreeMap::new()).unwrap()
}

fn environment(name: &str) -> EnvironmentId {
    EnvironmentId::new(name).unwrap()
}

#[test]
fn in_an_unprotected_environment_every_named_person_may_do_everything_alone() {
    let plan = plan(json!(null));
    let local = environment("local");
    let permissions = Permissions::of_rollout(&plan, &local, false, Environments::NONE);
    for verb in Verb::ALL {
        for person in ["alice", "lee", "stranger"] {
            assert_eq!(
                permissions.grant(*verb, person),
                Ok(Grant::Alone),
                "{verb} {person}"
            );
        }
    }
}

#[test]
fn in_a_protected_environment_a_stranger_may_do_nothing_and_risk_takes_two() {
    let plan = plan(json!(null));
    let prod = environment("prod");
    let permissions = Permissions::of_rollout(&plan, &prod, false, Environments::NONE);
    let two = [Verb::SkipCritical, Verb::Abort, Verb::Undo, Verb::FlagOn];
    for verb in Verb::ALL {
        let denied = permissions.grant(*verb, "stranger").unwrap_err();
        assert_eq!(
            denied.roles, "eng: alice or bob; lead: lee or lou",
            "{verb}"
        );
        let expected = if two.contains(verb) {
            Grant::WithAnother
        } else {
            Grant::Alone
        };
        for person in ["alice", "lee"] {
            assert_eq!(
                permissions.grant(*verb, person),
                Ok(expected),
                "{verb} {person}"
            );
        }
    }
}

#[test]
fn the_record_of_an_environment_protects_whatever_a_plan_says() {
    let plan = plan(json!(null));
    let local = environment("local");
    let permissions = Permissions::of_rollout(&plan, &local, true, Environments::NONE);
    assert!(permissions.grant(Verb::Start, "stranger").is_err());
    let terms = Terms {
        protected: true,
        roles: [("ops".to_owned(), vec!["olga".to_owned()])].into(),
        break_glass: None,
    };
    let commit = v1_recorded("local", &terms);
    let state = crate::environment::evolve(None, &commit, 1).unwrap();
    let mut environments = Environments::default();
    environments.insert(std::sync::Arc::new(state));
    let permissions = Permissions::of_rollout(&plan, &local, false, &environments);
    assert!(permissions.is_protected());
    assert!(permissions.grant(Verb::Start, "stranger").is_err());
    assert!(
        permissions.grant(Verb::Start, "olga").is_err(),
        "in a rollout the roles of its plan hold"
    );
}

fn v1_recorded(name: &str, terms: &Terms) -> rollbook_proto::v1::Commit {
    use rollbook_proto::v1::{Commit, EnvironmentRecorded, Event, event::Kind};
    Commit {
        aggregate: "environment".to_owned(),
        aggregate_id: name.to_owned(),
        recorded_at: Some(crate::clock::to_proto(Timestamp::UNIX_EPOCH)),
        events: vec![Event {
            kind: Some(Kind::EnvironmentRecorded(EnvironmentRecorded {
                name: name.to_owned(),
                terms: Some(terms.to_wire()),
                ..EnvironmentRecorded::default()
            })),
        }],
        ..Commit::default()
    }
}

fn recorded(terms: serde_json::Value) -> Environments {
    let text = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap();
    let terms = Terms {
        protected: true,
        roles: serde_json::from_value(terms["roles"].clone()).unwrap(),
        break_glass: text(&terms["break_glass"]),
    };
    let state = crate::environment::evolve(None, &v1_recorded("prod", &terms), 1).unwrap();
    let mut environments = Environments::default();
    environments.insert(std::sync::Arc::new(state));
    environments
}

#[test]
fn a_plan_does_not_bring_its_own_people_into_a_protected_environment() {
    let environments = recorded(json!({"roles": {"ops": ["alice", "lee", "olga"]}}));
    let (plan, prod) = (plan(json!(null)), environment("prod"));
    let permissions = Permissions::of_rollout(&plan, &prod, false, &environments);
    for person in ["alice", "lee"] {
        assert!(permissions.grant(Verb::Start, person).is_ok(), "{person}");
    }
    // One has a role only in the plan, another only in the environment.
    for person in ["bob", "lou", "olga"] {
        let denied = permissions.grant(Verb::Start, person).unwrap_err();
        assert_eq!(denied.roles, "eng: alice; lead: lee", "{person}");
    }
    assert_eq!(permissions.persons(Verb::SkipCritical, "alice"), ["lee"]);
}

#[test]
fn break_glass_in_a_protected_environment_needs_its_record_and_the_plan_to_allow_it() {
    let now = Timestamp::UNIX_EPOCH;
    let everybody = json!({"ops": ["alice", "bob", "lee", "lou"]});
    let rule =
        |verbs: serde_json::Value, within: &str| json!({"verbs": verbs, "review_within": within});
    let own = plan(json!({"break_glass": rule(json!(["abort", "undo", "accept"]), "2h")}));
    let silent = plan(json!(null));
    let prod = environment("prod");
    let with = recorded(
        json!({"roles": everybody, "break_glass": rule(json!(["abort", "skip_critical"]), "1h")}),
    );
    let without = recorded(json!({"roles": everybody}));
    let breakable = |plan: &Plan, environments: &Environments, verb: Verb| {
        Permissions::of_rollout(plan, &prod, false, environments).breakable(verb, "alice", now)
    };
    let found = breakable(&own, &with, Verb::Abort).unwrap();
    assert_eq!(found.rule, "the runbook and environment prod");
    assert_eq!(found.review_by.to_string(), "1970-01-01T01:00:00Z");
    for verb in [Verb::Accept, Verb::Undo, Verb::SkipCritical] {
        assert_eq!(breakable(&own, &with, verb), None, "{verb}");
    }
    assert!(breakable(&silent, &with, Verb::SkipCritical).is_some());
    assert_eq!(breakable(&own, &without, Verb::Abort), None);
}

#[test]
fn a_runbook_narrows_verbs_to_roles_everywhere_it_runs() {
    let plan = plan(json!({"verbs": {"abort": ["lead"], "start": ["lead"]}}));
    for name in ["local", "prod"] {
        let environment = environment(name);
        let permissions = Permissions::of_rollout(&plan, &environment, false, Environments::NONE);
        for verb in [Verb::Abort, Verb::Start] {
            let denied = permissions.grant(verb, "alice").unwrap_err();
            assert_eq!(denied.roles, "lead: lee or lou", "{verb} in {name}");
            assert!(permissions.grant(verb, "lee").is_ok());
        }
        assert!(permissions.grant(Verb::Pause, "alice").is_ok());
        assert_eq!(permissions.persons(Verb::Abort, "lee"), ["lou"]);
    }
}

#[test]
fn break_glass_is_allowed_only_where_and_to_whom_a_rule_allows_it() {
    let now = Timestamp::UNIX_EPOCH;
    let spec =
        json!({"break_glass": {"verbs": ["abort"], "roles": ["lead"], "review_within": "2h"}});
    let plan = plan(spec);
    let prod = environment("prod");
    let permissions = Permissions::of_rollout(&plan, &prod, false, Environments::NONE);
    let rule = permissions.breakable(Verb::Abort, "lee", now).unwrap();
    assert_eq!(rule.rule, "the runbook");
    assert_eq!(rule.review_by.to_string(), "1970-01-01T02:00:00Z");
    assert_eq!(permissions.breakable(Verb::Abort, "alice", now), None);
    assert_eq!(permissions.breakable(Verb::Undo, "lee", now), None);
}

#[test]
fn the_table_has_a_row_for_every_verb() {
    let plan = plan(json!(null));
    let prod = environment("prod");
    let permissions = Permissions::of_rollout(&plan, &prod, false, Environments::NONE);
    let table = rows(&permissions);
    assert_eq!(table.len(), Verb::ALL.len());
    for (row, verb) in table.iter().zip(Verb::ALL) {
        assert_eq!(Verb::of(row.verb), Some(*verb));
        assert!(!row.who.is_empty() && !row.rule.is_empty());
    }
}

#[test]
fn the_table_states_what_roles_require_without_protection() {
    let local = environment("local");
    let named = plan(json!({"verbs": {"start": ["lead"]}}));
    let permissions = Permissions::of_rollout(&named, &local, false, Environments::NONE);
    let table = rows(&permissions);
    let row = |verb: Verb| table.iter().find(|row| row.verb == verb.as_str()).unwrap();
    let lead = "lead: lee or lou".to_owned();
    for (verb, rule, by_role) in [
        (Verb::Complete, "one person of the step's role", true),
        (Verb::Approve, "the roles of the gate", true),
        (Verb::Reject, "the roles of the gate", true),
        (
            Verb::ReviewNotApplicable,
            "one person of a role, not the one it judges",
            true,
        ),
        (Verb::Start, "one person of a role", true),
        (
            Verb::Review,
            "every named person, not the one it judges",
            false,
        ),
        (Verb::Accept, "every named person", false),
        (Verb::Pause, "every named person", false),
        (Verb::Rollback, "every named person", false),
    ] {
        let row = row(verb);
        assert_eq!(row.rule, rule, "{verb}");
        assert_eq!(row.who.contains(&lead), by_role, "{verb}: {:?}", row.who);
        assert_eq!(row.who == ["any operator"], !by_role, "{verb}");
    }
    // The table's description and the rule agree.
    assert_eq!(
        permissions.grant(Verb::Complete, "anyone"),
        Ok(Grant::Alone)
    );
    assert!(permissions.grant(Verb::Start, "anyone").is_err());
}
