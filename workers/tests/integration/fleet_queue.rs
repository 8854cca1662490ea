//! The contract suite for every queue.

use std::sync::Arc;
use std::time::Duration;

use rollbook_ledger::rollout::{Task, TaskAction, TaskClass};
use rollbook_ledger::trace::Cause;
use rollbook_workers::fleet::{
    DEAD_LETTER_STREAM, Delivery, JetStreamQueue, MemoryQueue, Published, QueueOptions, QueuedTask,
    TaskFilter, TaskQueue, WORK_STREAM,
};

use crate::nats::{Server, ServerConfig};

pub const OPTIONS: QueueOptions = QueueOptions {
    ack_wait: Duration::from_millis(1500),
    max_deliver: 3,
    replicas: 1,
    max_tasks: 1000,
};

const NOW: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(20);

pub fn task(step: &str, label: Option<&str>) -> QueuedTask {
    QueuedTask {
        rollout: "r-1".parse().unwrap(),
        task: Task {
            step: step.parse().unwrap(),
            action: TaskAction::Execute,
            attempt: 1,
            runs_on: label.map(str::to_owned),
            class: TaskClass::Step,
        },
        cause: Cause {
            causation_id: "01890a5d-ac96-774b-bcce-b302099a8056".to_owned(),
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        },
    }
}

fn labels(labels: &[&str]) -> Vec<TaskFilter> {
    labels
        .iter()
        .map(|label| TaskFilter::new(TaskClass::Step, *label))
        .collect()
}

async fn pulled(queue: &dyn TaskQueue, label: &[&str]) -> Box<dyn Delivery> {
    let pulled = queue.pull(&labels(label), SOON).await.unwrap();
    pulled.expect("a task comes")
}

async fn nothing(queue: &dyn TaskQueue, label: &[&str]) {
    let pulled = queue.pull(&labels(label), NOW).await.unwrap();
    assert!(pulled.is_none(), "{pulled:?}");
}

async fn contract(queue: Arc<dyn TaskQueue>) {
    let queue = queue.as_ref();
    nothing(queue, &["any"]).await;

    // Undos wait in lines of their own.
    for class in [TaskClass::Undo, TaskClass::Flag] {
        let mut back = task("1.0", None);
        back.task.action = TaskAction::Undo;
        back.task.class = class;
        assert_eq!(queue.publish(&back).await.unwrap(), Published::New);
        nothing(queue, &["any"]).await;
        let line = [TaskFilter::new(class, "any")];
        let delivery = queue.pull(&line, SOON).await.unwrap().unwrap();
        assert_eq!(delivery.task(), &back);
        delivery.done().await.unwrap();
    }

    // A task is on the queue once, however often it is published, waiting or in progress.
    let first = task("1.1", None);
    assert_eq!(queue.publish(&first).await.unwrap(), Published::New);
    assert_eq!(queue.publish(&first).await.unwrap(), Published::Known);
    let delivery = pulled(queue, &["any"]).await;
    assert_eq!((delivery.task(), delivery.deliveries()), (&first, 1));
    assert_eq!(queue.publish(&first).await.unwrap(), Published::Known);
    nothing(queue, &["any"]).await;
    delivery.done().await.unwrap();
    nothing(queue, &["any"]).await;
    // Acknowledged: it may be published again, and the worker then finds it stale.
    assert_eq!(queue.publish(&first).await.unwrap(), Published::New);
    pulled(queue, &["any"]).await.done().await.unwrap();

    // Labels: a worker gets the tasks of its labels and those for any worker.
    queue.publish(&task("1.2", Some("db.prod"))).await.unwrap();
    nothing(queue, &["any", "db"]).await;
    let delivery = pulled(queue, &["any", "db.prod"]).await;
    assert_eq!(delivery.task().label(), "db.prod");
    delivery.done().await.unwrap();

    // A task handed back is redelivered and counted.
    queue.publish(&task("1.3", None)).await.unwrap();
    pulled(queue, &["any"])
        .await
        .redeliver(Duration::ZERO)
        .await
        .unwrap();
    let delivery = pulled(queue, &["any"]).await;
    assert_eq!(delivery.deliveries(), 2);
    delivery.done().await.unwrap();

    // A worker that stops responding loses its task; one that sends heartbeats does not.
    queue.publish(&task("1.4", None)).await.unwrap();
    drop(pulled(queue, &["any"]).await);
    let delivery = pulled(queue, &["any"]).await;
    assert_eq!(delivery.deliveries(), 2);
    for _ in 0..6 {
        tokio::time::sleep(OPTIONS.ack_wait / 3).await;
        delivery.progress().await.unwrap();
        nothing(queue, &["any"]).await;
    }
    delivery.done().await.unwrap();

    // Given up: it is gone from the queue.
    queue.publish(&task("1.5", None)).await.unwrap();
    pulled(queue, &["any"])
        .await
        .give_up("poison\r\n")
        .await
        .unwrap();
    nothing(queue, &["any"]).await;

    // Delivered too often: it is not delivered any more.
    queue.publish(&task("1.6", None)).await.unwrap();
    for _ in 0..OPTIONS.max_deliver {
        pulled(queue, &["any"])
            .await
            .redeliver(Duration::ZERO)
            .await
            .unwrap();
    }
    nothing(queue, &["any"]).await;
}

#[tokio::test]
async fn the_queue_in_memory() {
    let queue = MemoryQueue::new(OPTIONS);
    contract(Arc::new(queue.clone())).await;
    let dead = queue.dead_letters();
    assert_eq!(dead.len(), 2, "{dead:?}");
}

#[tokio::test]
async fn the_queue_on_jetstream() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let ledger = "main".parse().unwrap();
    let queue = JetStreamQueue::open(client.clone(), ledger, OPTIONS)
        .await
        .unwrap();
    contract(Arc::new(queue)).await;

    let context = async_nats::jetstream::new(client.clone());
    let mut dead = context.get_stream(DEAD_LETTER_STREAM).await.unwrap();
    assert_eq!(
        dead.info().await.unwrap().state.messages,
        2,
        "one terminated, one exhausted"
    );

    // A message that is not a task is given up and blocks nothing.
    context
        .publish("work.main.any.x", "no task".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let queue = JetStreamQueue::open(client.clone(), "main".parse().unwrap(), OPTIONS)
        .await
        .unwrap();
    queue.publish(&task("2.1", None)).await.unwrap();
    let delivery = pulled(&queue, &["any"]).await;
    assert_eq!(delivery.task().task.step.as_str(), "2.1");
    delivery.done().await.unwrap();
}

#[tokio::test]
async fn a_work_stream_that_could_lose_tasks_is_refused() {
    let server = Server::single(ServerConfig::default()).await;
    let client = server.client().await;
    let context = async_nats::jetstream::new(client.clone());
    let config = async_nats::jetstream::stream::Config {
        name: WORK_STREAM.to_owned(),
        subjects: vec!["work.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let refused = JetStreamQueue::open(client, "main".parse().unwrap(), OPTIONS)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("RB-QUEUE-2"), "{refused}");
    assert!(refused.to_string().contains("retention"), "{refused}");
}
