//! A task that no worker executes: the rollout records the failure, and the task leaves the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::clock::SystemClock;
use rollbook_ledger::handler::{Caller, Handler};
use rollbook_ledger::ids::{LedgerId, RolloutId};
use rollbook_ledger::journal::jetstream::{JetStreamJournal, JetStreamOptions};
use rollbook_ledger::rollout::{self, Command, Open, Request, StepStatus, TaskClass};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::trace::Cause;
use rollbook_proto::v1::ActorKind;
use rollbook_workers::fleet::shards::ShardQueue;
use rollbook_workers::fleet::{
    ANY_LABEL, DeadLetters, JetStreamQueue, Published, QueueOptions, QueuedTask, TaskFilter,
    TaskQueue,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::executor_fixture::Fixture;
use crate::nats::{Server, ServerConfig};

#[tokio::test]
async fn a_task_delivered_too_often_fails_its_step_and_leaves_the_queue() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let ledger: LedgerId = "main".parse().unwrap();
    let journal =
        JetStreamJournal::open(client.clone(), ledger.clone(), JetStreamOptions::default())
            .await
            .unwrap();
    let fixture = Fixture::new(json!({"run": {"command": "true"}}));
    let handler = Handler::new(
        Arc::new(journal),
        fixture.context.tools.evidence.clone(),
        Arc::new(SystemClock),
        ledger.clone(),
    );
    let runbook = json!({
        "apiVersion": "rollbook/v1",
        "kind": "Runbook",
        "metadata": {"name": "stuck", "version": "1", "owner": "tests"},
        "environments": {"staging": {}},
        "phases": [{"id": "1", "title": "all of it", "steps": [
            {"id": "1.1", "title": "never begun", "run": {"command": "true"}, "verify": {"run": {"command": "true"}}, "undo": "none"},
        ]}],
    });
    let plan =
        Plan::from_runbook(serde_json::from_value(runbook).unwrap(), BTreeMap::new()).unwrap();
    let id: RolloutId = "stuck-1".parse().unwrap();
    let open = Open {
        name: String::new(),
        plan: handler.store_plan(&plan).await.unwrap(),
        environment: "staging".parse().unwrap(),
        params: BTreeMap::new(),
    };
    let caller = || Caller::process("ada", ActorKind::Person);
    handler.open(&id, &open, &caller()).await.unwrap();
    let start = Request::Person(Command::Start {});
    handler.request(&id, &start, &caller()).await.unwrap();

    let options = QueueOptions {
        ack_wait: Duration::from_millis(300),
        max_deliver: 2,
        ..QueueOptions::default()
    };
    let queue = JetStreamQueue::open(client.clone(), ledger.clone(), options)
        .await
        .unwrap();
    let queue = Arc::new(queue);
    let shard_queue = ShardQueue::open(queue.clone()).await.unwrap();
    let loaded = handler.rollout(&id).await.unwrap();
    let mut tasks = rollout::next(&loaded.state, &loaded.plan, handler.now()).tasks;
    let task = QueuedTask {
        rollout: id.clone(),
        task: tasks.pop().unwrap(),
        cause: Cause::default(),
    };
    assert_eq!(queue.publish(&task).await.unwrap(), Published::New);

    let shutdown = CancellationToken::new();
    let reader = DeadLetters::new(client, ledger, handler.clone(), shard_queue);
    let reading = tokio::spawn(reader.run(shutdown.clone()));
    // A worker that takes the task every time it is delivered and never responds.
    for _ in 0..200 {
        let _lost = queue
            .pull(
                &[TaskFilter::new(TaskClass::Step, ANY_LABEL)],
                Duration::from_millis(100),
            )
            .await
            .unwrap();
        let state = handler.rollout(&id).await.unwrap().state;
        let step = state.step(&task.task.step).unwrap();
        if step.status == StepStatus::Errored {
            assert!(step.message.contains("2 deliveries"), "{}", step.message);
            // Its subject on the queue is free again.
            assert_eq!(queue.publish(&task).await.unwrap(), Published::New);
            shutdown.cancel();
            reading.await.unwrap();
            return;
        }
    }
    panic!("the rollout was never told");
}
