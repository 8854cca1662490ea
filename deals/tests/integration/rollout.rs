//! Runs a whole rollout on a real journal and a real queue: flags, snapshots, comparison and audit
//! as steps, to its end and rolled back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollbook_deals::generate::GenerateOptions;
use rollbook_deals::load::load;
use rollbook_deals::migrate::apply;
use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::handler::{Caller, Handler};
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::journal::jetstream::{JetStreamJournal, JetStreamOptions};
use rollbook_ledger::rollout::{
    self, Command, Open, Request, RolloutState, StepStatus, SystemCommand,
};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::trace::Cause;
use rollbook_proto::v1::ActorKind;
use rollbook_workers::fleet::{
    JetStreamQueue, LedgerPort, QueueOptions, QueuedTask, TaskQueue, WorkerConfig, run,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::executor_fixture::Fixture;
use crate::nats::{Server, ServerConfig};

/// Does what the orchestrator does, until `done`.
async fn drive(
    handler: &Handler,
    queue: &dyn TaskQueue,
    id: &RolloutId,
    done: impl Fn(&RolloutState) -> bool,
) -> RolloutState {
    for _ in 0..3000 {
        let loaded = handler.rollout(id).await.unwrap();
        if done(&loaded.state) {
            return Arc::unwrap_or_clone(loaded.state);
        }
        let next = rollout::next(&loaded.state, &loaded.plan, handler.now());
        for task in next.tasks {
            let queued = QueuedTask {
                rollout: id.clone(),
                task,
                cause: Cause::default(),
            };
            queue.publish(&queued).await.unwrap();
        }
        if next.settle {
            let caller = Caller::process("orchestrator", ActorKind::Orchestrator);
            let settle = Request::System(SystemCommand::Settle);
            handler.request(id, &settle, &caller).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!(
        "not done: {:#?}",
        handler.rollout(id).await.unwrap().state.steps
    );
}

#[tokio::test]
async fn deals_are_captured_and_compared_and_the_flag_is_restored() {
    let database = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", database.path().join("deals.db").display());
    {
        use sqlx::ConnectOptions;
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
        options.create_if_missing(true).connect().await.unwrap();
    }
    apply(&url, "003").await.unwrap();
    load(&url, &GenerateOptions::new(300, 7), &mut |_| {})
        .await
        .unwrap();

    let runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "deals", "version": "1", "owner": "tests"},
        "environments": {"staging": {}},
        "sources": {"db": {"kind": "sqlite", "url": {"staging": {"value": url}}}},
        "flags": {"AWARE": {"description": "deal types count", "owner": "tests"}},
        "snapshots": {"costs": {"source": "db", "awareness_flag": "AWARE"}},
        "phases": [{"id": "1", "title": "all of it", "steps": [
            {"id": "1.1", "title": "audit", "audit": {"source": "db", "record_only": true}, "expect": ["total == 300"]},
            {"id": "1.2", "title": "before", "snapshot": {"of": "costs", "label": "before", "max_errors": 300}},
            {"id": "1.3", "title": "on", "flag": {"key": "AWARE", "to": "on"}},
            {"id": "1.4", "title": "after", "snapshot": {"of": "costs", "label": "after", "max_errors": 300}},
            {"id": "1.5", "title": "compare", "critical": false, "on_fail": "continue",
             "compare": {"of": "costs", "before": "before", "after": "after"}},
            {"id": "1.6", "title": "end", "run": {"command": "echo end"}, "verify": {"run": {"command": "true"}}, "undo": "none"},
        ]}],
    });
    let plan =
        Plan::from_runbook(serde_json::from_value(runbook).unwrap(), BTreeMap::new()).unwrap();

    let server = Server::single(ServerConfig::default()).await;
    let ledger: rollbook_ledger::ids::LedgerId = "main".parse().unwrap();
    let client = server.client().await;
    let journal =
        JetStreamJournal::open(client.clone(), ledger.clone(), JetStreamOptions::default())
            .await
            .unwrap();
    let fixture = Fixture::new(json!({"run": {"command": "true"}}));
    let evidence = fixture.context.tools.evidence.clone();
    let handler = Handler::new(
        Arc::new(journal),
        evidence,
        Arc::new(SystemClock),
        ledger.clone(),
    );
    let options = QueueOptions {
        ack_wait: Duration::from_millis(1500),
        max_deliver: 3,
        replicas: 1,
        max_tasks: 1000,
    };
    let queue = Arc::new(JetStreamQueue::open(client, ledger, options).await.unwrap());
    let port = Arc::new(LedgerPort::new(handler.clone()));
    let mut tools = fixture.context.tools.clone();
    tools.flags = port.clone();
    let stop = CancellationToken::new();
    let worker = tokio::spawn(run(
        WorkerConfig::new("worker"),
        queue.clone(),
        port,
        tools,
        stop.clone(),
    ));

    let id: RolloutId = "deals-1".parse().unwrap();
    let person = Caller::process("ada", ActorKind::Person);
    let open = Open {
        name: String::new(),
        plan: handler.store_plan(&plan).await.unwrap(),
        environment: "staging".parse().unwrap(),
        params: BTreeMap::new(),
    };
    handler.open(&id, &open, &person).await.unwrap();
    let start = Request::Person(Command::Start {});
    handler
        .request(&id, &start, &Caller::process("ada", ActorKind::Person))
        .await
        .unwrap();
    let state = drive(&handler, queue.as_ref(), &id, |state| {
        state.status.is_closed()
    })
    .await;

    for (step, status) in &state.steps {
        let word = (step.as_str(), status.status, &status.message);
        assert!(
            status.status == StepStatus::Succeeded || step.as_str() == "1.5",
            "{word:?}"
        );
    }
    let compare = &state.steps["1.5"];
    let value = |name: &str| Some(state.metrics.get(name)?.value?.to_f64());
    assert!(value("compared").unwrap() > 200.0, "{}", compare.message);
    assert_eq!(value("regressions"), Some(0.0), "{}", compare.message);
    assert_eq!(
        value("worst_change_percent"),
        Some(0.0),
        "acquisitions do not move"
    );
    assert!(value("carveout_ratio_min").unwrap() > 1.0);
    assert!(value("carveout_ratio_max").unwrap() < 3.5);
    assert!(value("tsa_deals").unwrap() > 0.0);
    assert_eq!(value("tsa_elsewhere"), Some(0.0), "{}", compare.message);
    assert_eq!(value("total"), Some(300.0));
    assert_eq!(state.manifests.len(), 2);

    let back = Request::Person(Command::Rollback {
        level: RollbackLevel::Flags,
        steps: Vec::new(),
        reason: "to see it work".to_owned(),
    });
    handler
        .request(&id, &back, &Caller::process("ada", ActorKind::Person))
        .await
        .unwrap();
    let state = drive(&handler, queue.as_ref(), &id, |state| {
        state
            .rollback
            .as_ref()
            .is_some_and(|rollback| rollback.verdict.is_some())
    })
    .await;
    assert_eq!(
        state.steps["1.3"].status,
        StepStatus::Undone,
        "{:?}",
        state.steps["1.3"]
    );
    let environment = "staging".parse().unwrap();
    let (flag, _) = handler
        .flag(&environment, &"AWARE".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(flag.setting.mode(), rollbook_proto::v1::FlagMode::Off);
    stop.cancel();
    worker.await.unwrap();
}
