//! What people read, of a recorded ledger with its own times and ids, held by golden files in
//! `tests/golden`: a change of words is seen in review. `ROLLBOOK_BLESS=1` rewrites them.

use std::path::{Path, PathBuf};

use prost::Message;
use rollbook_ledger::journal::StoredCommit;
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::projection::views::{RolloutFilter, TimelineFilter};
use rollbook_ledger::rollout;
use rollbook_ledger::runbook::{Directory, Origin, Plan, inspect};
use rollbook_proto::v1::Commit;
use rollbook_server::api::{BlockedAnswer, ProofAnswer, StatusAnswer};

use crate::args::LogArgs;
use crate::commands::log::sentences;
use crate::commands::show::{gate_lines, history_lines, step_lines};
use crate::outline;
use crate::report::{self, Material};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn recorded() -> PathBuf {
    workspace().join("ledger/tests/recorded/2026-11")
}

fn commits() -> Vec<StoredCommit> {
    let text = std::fs::read_to_string(recorded().join("commits.txt")).unwrap();
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut next = || words.next().unwrap();
            let (sequence, stored_at, bytes) = (next(), next(), next());
            StoredCommit::new(
                sequence.parse().unwrap(),
                stored_at.parse().unwrap(),
                Commit::decode(hex::decode(bytes).unwrap().as_slice()).unwrap(),
            )
        })
        .collect()
}

fn plan(digest: &str) -> Plan {
    let file = recorded().join("plans").join(format!("{digest}.json"));
    Plan::from_canonical(&std::fs::read(file).unwrap()).unwrap()
}

/// Compares lines without colours with a golden file.
#[track_caller]
fn holds(name: &str, lines: &[String]) {
    let text = lines.join("\n") + "\n";
    let text = anstream::adapter::strip_str(&text).to_string();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("ROLLBOOK_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        text == golden,
        "{} differs; ROLLBOOK_BLESS=1 rewrites it. Now it is:\n{text}",
        file.display()
    );
}

#[tokio::test]
async fn what_people_read_of_a_rollout() {
    let commits = commits();
    let place = tempfile::tempdir().unwrap();
    let store = sqlite::open(&place.path().join("views.db")).await.unwrap();
    store.apply(&commits).await.unwrap();
    let rollouts = store.rollouts(&RolloutFilter::default()).await.unwrap();
    for row in rollouts.data {
        let id = row.rollout.as_str();
        let view = store.rollout(id).await.unwrap();
        let detail = view.data.unwrap();
        let plan = plan(&row.plan_digest);
        let history: Vec<StoredCommit> = commits
            .iter()
            .filter(|stored| stored.commit.aggregate_id == id)
            .cloned()
            .collect();
        let state = rollout::fold(&history).unwrap().unwrap();
        let now = history.last().unwrap().stored_at;
        let blocked: Vec<BlockedAnswer> = rollout::next(&state, &plan, now)
            .blocked
            .into_iter()
            .map(BlockedAnswer::from)
            .collect();
        let timeline = TimelineFilter {
            rollout: Some(id.to_owned()),
            ..TimelineFilter::default()
        };
        let timeline = store.timeline(&timeline).await.unwrap().data.rows;

        let mut shown = Vec::new();
        for phase in &detail.phases {
            for step in &phase.steps {
                shown.extend(step_lines(&blocked, Some(&plan), step));
                let mut history = timeline.clone();
                history.retain(|row| row.subject == step.step);
                shown.extend(history_lines(&history));
                shown.push(String::new());
            }
            if let Some(gate) = &phase.gate_detail {
                shown.extend(gate_lines(gate));
                shown.push(String::new());
            }
        }
        holds(&format!("show-{id}.txt"), &shown);
        holds(&format!("plan-{id}.txt"), &outline::of(&plan, true));

        let material = Material {
            status: StatusAnswer {
                view: rollbook_ledger::projection::views::ViewAnswer {
                    as_of: view.as_of,
                    lag: Some(0),
                    data: detail,
                },
                blocked,
                next: Vec::new(),
                due: false,
                progress: Vec::new(),
            },
            plan,
            timeline,
            proof: ProofAnswer {
                views: None,
                damaged: Vec::new(),
                code: None,
                sound: 0,
                unread: 0,
                erased: 0,
            },
        };
        let text = report::markdown(&material);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        holds(&format!("report-{id}.md"), &lines);
    }
}

#[test]
fn the_log_of_a_ledger() {
    let args = LogArgs {
        aggregate: None,
        after: 0,
        since: None,
        until: None,
        actors: Vec::new(),
        types: Vec::new(),
        environments: Vec::new(),
        follow: false,
    };
    let lines: Vec<String> = commits()
        .iter()
        .flat_map(|stored| {
            let line = serde_json::json!({
                "sequence": stored.sequence,
                "stored_at": stored.stored_at.to_string(),
                "commit": stored.commit,
            });
            sentences(&line.to_string(), &args)
        })
        .collect();
    holds("log.txt", &lines);
}

#[test]
fn the_plan_of_the_shipped_runbook() {
    let file = workspace().join("runbooks/deal-type-awareness.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let files = Directory::around(&file).unwrap();
    let origin = Origin::new("deal-type-awareness.yaml", &files);
    let loaded = inspect(&text, &origin, &Default::default(), Some("production"));
    let plan = loaded.plan.unwrap();
    holds("plan-deal-type-awareness.txt", &outline::of(&plan, false));
}
