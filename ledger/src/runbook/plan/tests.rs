use proptest::prelude::*;

use super::super::kind::{Action, FlagStep};
use super::*;
use crate::runbook::{NoFiles, Origin, load};

const TEXT: &str = r#"apiVersion: rollbook/v1
kind: Runbook
metadata: {name: p, version: "1", owner: o}
environments: {staging: {}, production: {}}
roles: {a: [x, y], b: [y]}
flags: {F: {description: d, owner: o}}
sources: {db: {kind: sqlite, url: {staging: {value: "sqlite:s.db"}, production: {value: "sqlite:p.db"}}}}
phases:
  - id: "0"
    title: Zero
    steps:
      - {id: "0.1", title: t, wait: {for: 1s}}
      - {id: "0.2", title: t, wait: {for: 1s}}
      - {id: "0.3", title: t, needs: ["0.1"], wait: {for: 1s}}
    gate: {sign_offs: [{role: a}]}
  - id: "1"
    title: One
    steps:
      - {id: "1.1", title: t, environment: staging, flag: {key: F, to: on}}
      - id: "1.2"
        title: t
        sql: {source: db, deploy: CREATE TABLE t (x), verify: SELECT x FROM t, revert: DROP TABLE t}
      - {id: "1.3", title: t, needs: [], run: {command: look}, changes: nothing}
      - {id: "1.4", title: t, run: {command: do}, verify: {run: {command: check}}, undo: irreversible}
      - {id: "1.5", title: t, http: {source: web, path: /x, method: POST}, verify: {run: {command: c}}, undo: {manual: by hand}}
  - id: "2"
    title: Two
    needs: ["0"]
    steps:
      - {id: "2.1", title: t, wait: {for: 1s}}
"#;

fn plan() -> Plan {
    let text = TEXT.replace(
        "sources: {",
        "sources: {web: {kind: http, url: {staging: {env: A}, production: {env: B}}}, ",
    );
    load(
        &text,
        &Origin::new("p.yaml", &NoFiles),
        &BTreeMap::new(),
        None,
    )
    .unwrap()
}

fn step(id: &str) -> StepId {
    StepId::new(id).unwrap()
}

#[test]
fn needs_are_the_step_before_and_the_phase_before_unless_said_otherwise() {
    let plan = plan();
    let needs = |id: &str| {
        let needs = plan.needs(&step(id)).unwrap();
        let steps: Vec<&str> = needs.steps.iter().map(StepId::as_str).collect();
        let phases: Vec<&str> = needs.phases.iter().map(PhaseId::as_str).collect();
        (steps, phases)
    };
    assert_eq!(needs("0.1"), (vec![], vec![]));
    assert_eq!(needs("0.2"), (vec!["0.1"], vec![]));
    assert_eq!(needs("0.3"), (vec!["0.1"], vec![]));
    assert_eq!(needs("1.1"), (vec![], vec!["0"]));
    assert_eq!(
        needs("1.3"),
        (vec![], vec!["0"]),
        "no steps, but still behind the gate"
    );
    assert_eq!(needs("1.4"), (vec!["1.3"], vec!["0"]));
    assert_eq!(needs("2.1"), (vec![], vec!["0"]));
    assert!(plan.needs(&step("9.9")).is_none());
}

#[test]
fn undo_is_derived_for_flags_and_migrations_and_declared_for_the_rest() {
    let plan = plan();
    let undo = |id: &str| plan.undo(&step(id)).unwrap();
    assert_eq!(undo("0.1"), EffectiveUndo::Nothing);
    assert_eq!(undo("1.1"), EffectiveUndo::RestoreFlag { key: "F" });
    assert!(matches!(
        undo("1.2"),
        EffectiveUndo::Revert { source: "db", .. }
    ));
    assert_eq!(undo("1.3"), EffectiveUndo::Nothing);
    assert_eq!(undo("1.4"), EffectiveUndo::Irreversible);
    assert_eq!(undo("1.5"), EffectiveUndo::Manual("by hand"));
    assert!(undo("1.5").is_possible() && !undo("1.5").is_automatic());
    assert!(!undo("1.4").is_possible());
}

#[test]
fn people_environments_and_outline() {
    let plan = plan();
    assert_eq!(plan.role_members("a"), ["x", "y"]);
    assert!(plan.role_members("nobody").is_empty());
    assert_eq!(plan.roles_of("y").collect::<Vec<_>>(), ["a", "b"]);
    let production = EnvironmentId::new("production").unwrap();
    let environment = |id: &str| {
        let (_, found) = plan.step(&step(id)).unwrap();
        plan.environment_of(found, &production).to_owned()
    };
    assert_eq!(environment("1.1"), "staging");
    assert_eq!(environment("1.2"), "production");
    let outline = plan.outline();
    let gates: Vec<bool> = outline.phases.iter().map(|p| p.gate).collect();
    assert_eq!(gates, [true, false, false]);
    let kinds: Vec<&str> = outline
        .phases
        .iter()
        .flat_map(|p| p.steps.iter().map(|s| s.kind.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            "wait", "wait", "wait", "flag", "sql", "run", "run", "http", "wait"
        ]
    );
    assert_eq!(plan.phase_of(&step("1.2")).unwrap().as_str(), "1");
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let mut twice = plan().runbook().clone();
    let again = twice.phases.first().unwrap().steps.first().unwrap().clone();
    twice.phases.last_mut().unwrap().steps.push(again);
    assert!(matches!(
        Plan::from_runbook(twice, BTreeMap::new()),
        Err(PlanError::Duplicate { what: "step", .. })
    ));
    let mut dangling = plan().runbook().clone();
    dangling.phases.last_mut().unwrap().needs = Some(vec!["7".to_owned()]);
    assert!(matches!(
        Plan::from_runbook(dangling, BTreeMap::new()),
        Err(PlanError::Dangling { .. })
    ));
    assert!(matches!(
        Plan::from_canonical(b"{}"),
        Err(PlanError::Decode(_))
    ));
}

#[test]
fn the_digest_is_that_of_the_canonical_bytes() {
    let plan = plan();
    assert_eq!(
        plan.digest(),
        hex::encode(Sha256::digest(plan.canonical_json()))
    );
    assert_eq!(plan.digest().len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever texts and numbers a plan has, its canonical bytes decode to the same plan.
    #[test]
    fn canonical_bytes_read_back(
        title in "\\PC{0,40}",
        command in "\\PC{1,60}",
        key in "[a-z]{1,8}",
        value in "\\PC{0,20}",
        share in 0u32..=100_000,
        millis in 0i64..10_000_000_000,
    ) {
        let mut runbook = plan().runbook().clone();
        runbook.metadata.title = Some(title);
        if let Some(phase) = runbook.phases.last_mut() {
            phase.planned = Some(crate::runbook::Span::from_millis(millis));
            if let Some(last) = phase.steps.last_mut() {
                last.action = Action::Flag(FlagStep {
                    key: "F".to_owned(),
                    to: crate::runbook::model::FlagTarget::Percentage(f64::from(share) / 1_000.0),
                });
                last.when = Some(command);
            }
        }
        let params = BTreeMap::from([(key, value)]);
        let made = Plan::from_runbook(runbook, params).unwrap();
        let read = Plan::from_canonical(made.canonical_json()).unwrap();
        prop_assert_eq!(read.runbook(), made.runbook());
        prop_assert_eq!(read.params(), made.params());
        prop_assert_eq!(read.digest(), made.digest());
    }
}

#[test]
fn a_plan_is_described_in_its_order_with_what_cannot_be_taken_back() {
    let items = crate::runbook::describe(&plan());
    let order: Vec<(&str, &str)> = items
        .iter()
        .map(|item| (item.id.as_str(), item.kind.as_str()))
        .collect();
    assert_eq!(order[3], ("0", "gate"));
    assert_eq!(order[4], ("1.1", "flag"));
    let find = |id: &str, kind: &str| {
        items
            .iter()
            .find(|item| item.id == id && item.kind == kind)
            .unwrap()
    };
    assert_eq!(find("0", "gate").what, "signed by a");
    assert_eq!(find("1.1", "flag").what, "set F to on");
    assert_eq!(find("1.1", "flag").needs, ["phase 0"]);
    assert!(!find("1.1", "flag").destructive);
    assert_eq!(find("1.2", "sql").loss, None, "its revert brings it back");
    assert!(find("1.4", "run").destructive, "it cannot be taken back");
    assert!(!find("1.3", "run").effect);
    assert_eq!(
        find("1.5", "http").undo.as_deref(),
        Some("by hand: by hand")
    );
}
