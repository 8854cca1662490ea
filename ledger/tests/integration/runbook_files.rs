//! The runbooks of this repository load and mean what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rollbook_ledger::ids::{EnvironmentId, StepId};
use rollbook_ledger::runbook::model::Window;
use rollbook_ledger::runbook::plan::has_effect;
use rollbook_ledger::runbook::{
    Action, Diagnostics, Directory, EffectiveUndo, Loaded, Origin, Plan, inspect,
};

fn runbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks")
}

fn inspect_file(name: &str, params: &[(&str, &str)]) -> Loaded {
    let file = runbooks().join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    let files = Directory::around(&file).unwrap();
    let params: BTreeMap<String, String> = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    inspect(
        &text,
        &Origin::new(name, &files),
        &params,
        Some(if name == "hello.yaml" {
            "local"
        } else {
            "production"
        }),
    )
}

fn plan_of(name: &str, params: &[(&str, &str)]) -> Plan {
    let loaded = inspect_file(name, params);
    assert_eq!(
        loaded.diagnostics,
        Diagnostics::default(),
        "{}",
        loaded.diagnostics
    );
    loaded.plan.unwrap()
}

#[test]
fn hello_loads_without_a_finding() {
    let plan = plan_of("hello.yaml", &[]);
    assert_eq!(plan.steps().count(), 3);
    assert_eq!(plan.role_members("listeners"), ["alice", "bob"]);
}

#[test]
fn the_deal_type_runbook_has_every_step_of_its_source() {
    let plan = plan_of("deal-type-awareness.yaml", &[]);
    let ids: BTreeSet<String> = plan.steps().map(|s| s.id.to_string()).collect();
    for (phase, steps) in [(0, 6), (1, 8), (2, 7), (3, 6), (4, 7)] {
        for step in 1..=steps {
            assert!(ids.contains(&format!("{phase}.{step}")), "{phase}.{step}");
        }
    }
    assert_eq!(plan.phases().count(), 5);
    assert!(plan.phases().all(|(_, phase)| phase.gate.is_some()));
}

#[test]
fn migrations_are_pinned_with_their_reverts() {
    let plan = plan_of("deal-type-awareness.yaml", &[]);
    for id in ["1.3", "1.6"] {
        let id = StepId::new(id).unwrap();
        let (_, step) = plan.step(&id).unwrap();
        let Action::Sql(sql) = &step.action else {
            panic!("{id} is no migration")
        };
        assert!(
            sql.deploy
                .as_ref()
                .unwrap()
                .text()
                .unwrap()
                .contains("valid_deal_type")
        );
        assert!(sql.verify.as_ref().unwrap().text().is_some());
        assert!(matches!(plan.undo(&id), Some(EffectiveUndo::Revert { .. })));
    }
    let production = EnvironmentId::new("production").unwrap();
    let environment = |id: &str| {
        let (_, step) = plan.step(&StepId::new(id).unwrap()).unwrap();
        plan.environment_of(step, &production).to_owned()
    };
    assert_eq!(environment("1.3"), "staging");
    assert_eq!(environment("1.6"), "production");
    assert_eq!(environment("2.3"), "staging");
    assert_eq!(environment("2.5"), "production");
}

#[test]
fn only_the_production_migration_waits_for_the_maintenance_window() {
    let plan = plan_of("deal-type-awareness.yaml", &[]);
    let bound: Vec<&str> = plan
        .steps()
        .filter(|s| s.step.window.is_some())
        .map(|s| s.id.as_str())
        .collect();
    assert!(bound.iter().all(|id| id.starts_with("1.6")), "{bound:?}");
    assert!(plan.runbook().windows.iter().all(|w| w.named_only));
}

#[test]
fn the_application_is_stopped_only_while_the_window_leaves_time_for_the_migration() {
    let plan = plan_of("deal-type-awareness.yaml", &[]);
    let step = |id: &str| plan.step(&StepId::new(id).unwrap()).unwrap().1;
    let window = |id: &str| {
        let name = step(id).window.as_deref();
        let windows = plan.runbook().windows.iter();
        let window = windows.clone().find(|it| Some(it.name.as_str()) == name);
        window.unwrap().clone()
    };
    let (stop, migrate) = (window("1.6-stop"), window("1.6"));
    assert_eq!(
        (&stop.cron, &stop.time_zone, &stop.environments),
        (&migrate.cron, &migrate.time_zone, &migrate.environments)
    );
    let takes = |id: &str| step(id).timeout.unwrap().as_millis();
    let lasts = |it: &Window| it.duration.unwrap().as_millis();
    assert!(lasts(&stop) + takes("1.6-stop") + takes("1.6") <= lasts(&migrate));
    // A restarted application gets time until it answers.
    assert!(step("1.6-stop").undo_verify_within.is_some());
}

#[test]
fn parameters_compress_the_watches_and_change_the_digest() {
    let long = plan_of("deal-type-awareness.yaml", &[]);
    let short = plan_of(
        "deal-type-awareness.yaml",
        &[
            ("code_watch", "4s"),
            ("database_watch", "4s"),
            ("ui_watch", "4s"),
            ("sample_every", "1s"),
            ("tolerance_percent", "2.5"),
        ],
    );
    assert_ne!(long.digest(), short.digest());
    let length = |plan: &Plan, id: &str| {
        let (_, step) = plan.step(&StepId::new(id).unwrap()).unwrap();
        match &step.action {
            Action::Watch(watch) => watch.r#for.as_millis(),
            _ => panic!("{id} is no watch"),
        }
    };
    assert_eq!(length(&long, "1.8"), 2 * 3_600_000);
    assert_eq!(length(&long, "2.6"), 24 * 3_600_000);
    assert_eq!(length(&short, "2.6"), 4_000);
    let (_, step) = short.step(&StepId::new("4.2").unwrap()).unwrap();
    let Action::Compare(compare) = &step.action else {
        panic!()
    };
    assert_eq!(compare.tolerance_percent, Some(2.5));
}

#[test]
fn every_step_with_an_effect_declares_its_undo() {
    let plan = plan_of("deal-type-awareness.yaml", &[]);
    for planned in plan.steps().filter(|s| has_effect(s.step)) {
        let undo = plan.undo(planned.id).unwrap();
        assert_ne!(undo, EffectiveUndo::Nothing, "{}", planned.id);
    }
    let flag = plan.undo(&StepId::new("2.5").unwrap());
    assert_eq!(
        flag,
        Some(EffectiveUndo::RestoreFlag {
            key: "DEAL_TYPE_AWARENESS"
        })
    );
}

#[test]
fn a_pinned_plan_is_read_back_as_it_was() {
    for name in ["hello.yaml", "deal-type-awareness.yaml"] {
        let plan = plan_of(name, &[]);
        let again = Plan::from_canonical(plan.canonical_json()).unwrap();
        assert_eq!(again.digest(), plan.digest());
        assert_eq!(again.runbook(), plan.runbook());
        assert_eq!(again.params(), plan.params());
        let mut edited = plan.canonical_json().to_vec();
        edited.push(b' ');
        assert!(Plan::from_canonical(&edited).is_err(), "{name}");
    }
}
