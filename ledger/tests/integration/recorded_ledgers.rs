//! Ledgers recorded by earlier builds: they must stay readable forever and show the same views.
//!
//! `tests/recorded/<name>/` holds `commits.txt` (sequence, storage time, stored bytes in hex),
//! `plans/` (the plans its rollouts pin) and `views.json` (what the views showed). Commits and
//! plans never change. Views may gain fields; any other change must be deliberate:
//! `ROLLBOOK_BLESS=1` rewrites `views.json`, so that its difference can be reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost::Message;
use rollbook_ledger::ids::Aggregate;
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::store::ViewStore;
use rollbook_ledger::projection::views::{
    PageCursor, RegressionFilter, RolloutFilter, TimelineFilter,
};
use rollbook_ledger::proto::v1::{Commit, event::Kind};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::{flag, fleet, rollout};
use serde_json::{Value, json};

/// Returns every recorded ledger.
fn recorded() -> Vec<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut found: Vec<_> = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no ledger in {}", place.display());
    found
}

fn commits(ledger: &Path) -> Vec<StoredCommit> {
    let text = std::fs::read_to_string(ledger.join("commits.txt")).unwrap();
    let mut commits = Vec::new();
    for line in text.lines() {
        let [sequence, stored_at, bytes] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{}: {line}", ledger.display());
        };
        commits.push(StoredCommit::new(
            sequence.parse().unwrap(),
            stored_at.parse().unwrap(),
            Commit::decode(hex::decode(bytes).unwrap().as_slice()).unwrap(),
        ));
    }
    commits
}

/// Groups the commits by aggregate, in order.
fn by_aggregate(commits: &[StoredCommit]) -> BTreeMap<(String, String), Vec<StoredCommit>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for stored in commits {
        let commit = &stored.commit;
        let key = (commit.aggregate.clone(), commit.aggregate_id.clone());
        found.entry(key).or_default().push(stored.clone());
    }
    found
}

fn plans(ledger: &Path) -> BTreeMap<String, Plan> {
    std::fs::read_dir(ledger.join("plans"))
        .unwrap()
        .map(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let plan = Plan::from_canonical(&bytes).unwrap();
            (plan.digest().to_owned(), plan)
        })
        .collect()
}

#[test]
fn every_aggregate_folds_and_every_rollout_continues() {
    for ledger in recorded() {
        let plans = plans(&ledger);
        for ((kind, id), history) in by_aggregate(&commits(&ledger)) {
            let last = history.last().unwrap();
            match kind.as_str() {
                "rollout" => {
                    let state = rollout::fold(&history).unwrap().unwrap();
                    assert_eq!(state.sequence, last.sequence, "{id}");
                    let plan = &plans[&state.plan_digest];
                    assert_eq!(plan.digest(), state.plan_digest);
                    let next = rollout::next(&state, plan, last.stored_at);
                    assert_eq!(next.is_over(), state.status.is_closed(), "{id}: {next:?}");
                }
                "flag" => assert!(flag::fold(&history).unwrap().is_some(), "{id}"),
                "worker" => {
                    let mut state = None;
                    for stored in &history {
                        let next = fleet::evolve(state, &stored.commit, stored.sequence);
                        state = Some(next.unwrap());
                    }
                }
                other => panic!("{}: aggregate {other}", ledger.display()),
            }
        }
    }
}

/// Returns everything the views show, by kind.
async fn shown(store: &dyn ViewStore, commits: &[StoredCommit]) -> Value {
    let rollouts = store.rollouts(&RolloutFilter::default()).await.unwrap();
    let mut details = BTreeMap::new();
    let mut measurements = BTreeMap::new();
    for row in rollouts.data {
        let detail = store.rollout(&row.rollout).await.unwrap().data.unwrap();
        for step in detail.phases.iter().flat_map(|phase| &phase.steps) {
            let page = store
                .measurements(&row.rollout, &step.step, PageCursor::default(), 100)
                .await
                .unwrap();
            if !page.data.rows.is_empty() {
                let key = format!("{} {}", row.rollout, step.step);
                measurements.insert(key, json!(page.data.rows));
            }
        }
        details.insert(row.rollout, json!(detail));
    }
    let mut histories = BTreeMap::new();
    for (kind, id) in by_aggregate(commits).into_keys() {
        if let Some(Aggregate::Flag(environment, key)) = Aggregate::of(&kind, &id) {
            let rows = store
                .flag_history(environment.as_str(), key.as_str())
                .await
                .unwrap();
            histories.insert(id, json!(rows.data));
        }
    }
    let timeline = TimelineFilter {
        limit: 1_000,
        ..TimelineFilter::default()
    };
    let regressions = RegressionFilter {
        limit: 100,
        ..RegressionFilter::default()
    };
    json!({
        "rollouts": details,
        "measurements": measurements,
        "flags": store.flags(None).await.unwrap().data,
        "flag_history": histories,
        "workers": store.workers().await.unwrap().data,
        "timeline": store.timeline(&timeline).await.unwrap().data.rows,
        "regressions": store.regressions(&regressions).await.unwrap().data.rows,
        "anomalies": store.anomalies(PageCursor::default(), 100).await.unwrap().data.rows,
    })
}

/// Finds what `recorded` has and `shown` does not; fields that only `shown` has are new and no
/// difference.
fn differences(at: &str, recorded: &Value, shown: &Value, found: &mut Vec<String>) {
    match (recorded, shown) {
        (Value::Object(recorded), Value::Object(shown)) => {
            for (key, value) in recorded {
                let other = shown.get(key).unwrap_or(&Value::Null);
                differences(&format!("{at}/{key}"), value, other, found);
            }
        }
        (Value::Array(recorded), Value::Array(shown)) if recorded.len() == shown.len() => {
            for (place, (value, other)) in recorded.iter().zip(shown).enumerate() {
                differences(&format!("{at}/{place}"), value, other, found);
            }
        }
        _ if recorded == shown => {}
        _ => found.push(format!("{at}: recorded {recorded}, shown {shown}")),
    }
}

#[tokio::test]
async fn the_views_show_what_they_showed() {
    for ledger in recorded() {
        let commits = commits(&ledger);
        let store = sqlite::in_memory().await.unwrap();
        store.apply(&commits).await.unwrap();
        let shown = shown(&*store, &commits).await;
        let file = ledger.join("views.json");
        if std::env::var_os("ROLLBOOK_BLESS").is_some() {
            let text = serde_json::to_string_pretty(&shown).unwrap();
            std::fs::write(&file, text + "\n").unwrap();
        }
        let recorded = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut found = Vec::new();
        differences("", &recorded, &shown, &mut found);
        assert!(
            found.is_empty(),
            "{}:\n{}",
            file.display(),
            found.join("\n")
        );
    }
}

#[test]
fn the_first_ledger_has_every_kind_of_event_of_its_time() {
    let commits = commits(&recorded()[0]);
    let kinds: BTreeSet<_> = commits
        .iter()
        .flat_map(|stored| &stored.commit.events)
        .map(|event| std::mem::discriminant::<Kind>(event.kind.as_ref().unwrap()))
        .map(|kind| format!("{kind:?}"))
        .collect();
    assert_eq!(kinds.len(), 39, "{kinds:?}");
}
