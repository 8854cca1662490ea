//! A clock owns all the time of a rollout: a day of watching passes as fast as the work in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rollbook_deals::Deals;
use rollbook_ledger::clock::{Clock, RuntimeClock};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::handler::{Caller, Handler};
use rollbook_ledger::ids::{LedgerId, RolloutId};
use rollbook_ledger::journal::{Journal, MemoryJournal};
use rollbook_ledger::projection::sqlite;
use rollbook_ledger::rollout::{Command, Open, Request, Status, StepStatus};
use rollbook_ledger::runbook::Plan;
use rollbook_proto::v1::{self, RolloutOutcome};
use rollbook_server::orchestrator::{Liveness, Orchestrator};
use rollbook_workers::executor::context::SAMPLES;
use rollbook_workers::executor::{NoOutput, NoProgress, ProcessSecrets, Tools, http_client};
use rollbook_workers::fleet::{self, LedgerPort, MemoryQueue, QueueOptions, WorkerConfig};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

fn plan(database: &str) -> Plan {
    let runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "a-day", "version": "1", "owner": "tests"},
        "environments": {"local": {}},
        "sources": {"db": {"kind": "sqlite", "url": {"local": {"value": database}}}},
        "flags": {"NEW": {"description": "the new path", "owner": "tests"}},
        "metrics": {"errors": {"sql": {"source": "db", "query": "SELECT count(*) FROM errors"}}},
        "phases": [{"id": "1", "title": "A day", "steps": [
            {"id": "1.1", "title": "On", "flag": {"key": "NEW", "to": "on"}},
            {"id": "1.2", "title": "Settle", "wait": {"for": "30m"}},
            {"id": "1.3", "title": "Watch", "watch": {
                "for": "24h", "every": "30m",
                "thresholds": [{"metric": "errors", "fail": "value > 0"}],
            }},
        ]}],
    });
    Plan::from_runbook(serde_json::from_value(runbook).unwrap(), BTreeMap::new()).unwrap()
}

#[tokio::test]
async fn a_rollout_with_a_day_long_watch_runs_on_the_virtual_clock() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("errors.db");
    rusqlite::Connection::open(&file)
        .and_then(|database| database.execute_batch("CREATE TABLE errors (at text)"))
        .unwrap();
    let plan = plan(&format!("sqlite:{}", file.display()));
    let begun: Timestamp = "2026-01-05T02:00:00Z".parse().unwrap();
    let views = sqlite::open(&place.path().join("views.db")).await.unwrap();
    // From here on the runtime's time jumps to the next sleeper when nothing else is to be done.
    tokio::time::pause();
    let clock = Arc::new(RuntimeClock::new(begun));
    let ledger = LedgerId::new("main").unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new(ledger.clone()));
    let objects = place.path().join("objects");
    let evidence = EvidenceStore::open(objects.to_str().unwrap()).unwrap();
    let handler = Handler::new(journal.clone(), evidence.clone(), clock.clone(), ledger);
    let queue = Arc::new(MemoryQueue::new(QueueOptions::default()));
    let (stop, port) = (CancellationToken::new(), LedgerPort::new(handler.clone()));
    let tools = Tools {
        evidence,
        clock: clock.clone(),
        secrets: Arc::new(ProcessSecrets::new([])),
        output: Arc::new(NoOutput),
        progress: Arc::new(NoProgress),
        flags: Arc::new(port.clone()),
        http: http_client().unwrap(),
        sampling: Arc::new(Semaphore::new(SAMPLES)),
        calculators: Arc::new(Deals),
        auditor: Arc::new(Deals),
        shards: None,
    };
    let orchestrator = Orchestrator::new(
        handler.clone(),
        journal,
        queue.clone(),
        queue.clone(),
        views,
        Liveness::default(),
    );
    let orchestrating = tokio::spawn(orchestrator.run(stop.clone()));
    let config = WorkerConfig::new("here/1");
    let working = fleet::run(config, queue, Arc::new(port), tools, stop.clone());
    let working = tokio::spawn(working);

    let alice = || {
        Caller::new(v1::Actor {
            name: "alice".to_owned(),
            kind: v1::ActorKind::Person.into(),
            authentication: "asserted".to_owned(),
        })
    };
    let id = RolloutId::new("a-day").unwrap();
    let open = Open {
        name: String::new(),
        plan: handler.store_plan(&plan).await.unwrap(),
        environment: "local".parse().unwrap(),
        params: BTreeMap::new(),
    };
    handler.open(&id, &open, &alice()).await.unwrap();
    let start = Request::Person(Command::Start {});
    handler.request(&id, &start, &alice()).await.unwrap();
    let state = loop {
        let loaded = handler.rollout(&id).await.unwrap();
        if matches!(loaded.state.status, Status::Closed(_)) {
            break loaded.state;
        }
        assert!(
            clock.now() < begun + SignedDuration::from_hours(48),
            "{loaded:#?}"
        );
        clock.sleep(std::time::Duration::from_secs(60)).await;
    };
    assert_eq!(state.status, Status::Closed(RolloutOutcome::Succeeded));
    assert!(
        state
            .steps
            .values()
            .all(|step| step.status == StepStatus::Succeeded)
    );
    assert!(clock.now() >= begun + SignedDuration::from_mins(24 * 60 + 30));
    // At its start, each half hour, and at its end.
    let watch = state.step(&"1.3".parse().unwrap()).unwrap();
    let samples: BTreeSet<Timestamp> = watch.samples.of(watch.attempt)["errors"]
        .iter()
        .filter_map(|it| it.at)
        .collect();
    assert_eq!(samples.len(), 49);
    stop.cancel();
    orchestrating.await.unwrap();
    working.await.unwrap();
}
