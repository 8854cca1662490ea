//! Workers from task to result, and the fate of a task whose worker process is killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rollbook_ledger::rollout::{TaskAction, TaskClass};
use rollbook_workers::fleet::{
    JetStreamQueue, MemoryQueue, QueuedTask, TaskFilter, TaskQueue, WorkerConfig, run,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::executor_fixture::{Fixture, plan};
use crate::fleet_ledger::FileLedger;
use crate::fleet_queue::{OPTIONS, task};
use crate::nats::{Server, ServerConfig};

fn config(name: &str) -> WorkerConfig {
    WorkerConfig {
        progress_every: OPTIONS.ack_wait / 4,
        look_every: Duration::from_millis(50),
        drain: Duration::from_secs(20),
        ..WorkerConfig::new(name)
    }
}

/// A worker inside this process.
struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Worker {
    fn start(config: WorkerConfig, queue: Arc<dyn TaskQueue>, ledger: Arc<FileLedger>) -> Self {
        let stop = CancellationToken::new();
        let fixture = Fixture::new(json!({"run": {"command": "true"}}));
        let shutdown = stop.clone();
        let task = tokio::spawn(async move {
            // The fixture owns the evidence store's directory.
            let tools = fixture.context.tools.clone();
            run(config, queue, ledger, tools, shutdown).await;
            drop(fixture);
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A queue in memory, a ledger in a file, one step.
struct FleetFixture {
    queue: Arc<MemoryQueue>,
    ledger: Arc<FileLedger>,
    _dir: TempDir,
}

impl FleetFixture {
    fn new(step: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = FileLedger::open(&dir.path().join("ledger"), plan(step, json!({})));
        Self {
            queue: Arc::new(MemoryQueue::new(OPTIONS)),
            ledger: Arc::new(ledger),
            _dir: dir,
        }
    }

    fn worker(&self, config: WorkerConfig) -> Worker {
        Worker::start(config, self.queue.clone(), self.ledger.clone())
    }

    async fn queue_is_empty(&self) {
        for _ in 0..500 {
            // Publishing the task again adds it only if the queue no longer holds it.
            let probe = self.queue.publish(&task("1.1", None)).await.unwrap();
            if probe == rollbook_workers::fleet::Published::New {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the task stays on the queue");
    }
}

#[tokio::test]
async fn a_task_is_begun_executed_and_finished_once_by_any_number_of_workers() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "echo done"}}));
    let workers = [
        fleet_fixture.worker(config("a")),
        fleet_fixture.worker(config("b")),
    ];
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    let finish = fleet_fixture.ledger.wait_for("finish").await;
    assert_eq!(
        (finish.verdict.as_str(), finish.by_verification),
        ("PASS", false)
    );
    fleet_fixture.queue_is_empty().await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(
        fleet_fixture.ledger.kinds(),
        ["start", "finish"],
        "the repeated task was dropped"
    );
    let intent = &fleet_fixture.ledger.lines()[0].message;
    assert_eq!(intent, "run `echo done`");
}

#[tokio::test]
async fn a_result_is_not_lost_while_the_ledger_is_unavailable() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "sleep 0.3"}}));
    let worker = fleet_fixture.worker(config("a"));
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    fleet_fixture.ledger.wait_for("start").await;
    fleet_fixture.ledger.unavailable.store(5, Ordering::SeqCst);
    let finish = fleet_fixture.ledger.wait_for("finish").await;
    assert_eq!((finish.attempt, finish.verdict.as_str()), (1, "PASS"));
    worker.stop().await;
}

#[tokio::test]
async fn an_abort_ends_the_running_action() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "sleep 1000"}}));
    let worker = fleet_fixture.worker(config("a"));
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    fleet_fixture.ledger.wait_for("start").await;
    *fleet_fixture.ledger.halted.lock().unwrap() = Some("aborted".to_owned());
    let finish = fleet_fixture.ledger.wait_for("finish").await;
    assert_eq!(finish.verdict, "ERROR");
    assert!(
        finish.message.contains("cancelled: aborted"),
        "{}",
        finish.message
    );
    worker.stop().await;
}

#[tokio::test]
async fn an_undo_does_not_wait_for_running_steps() {
    let fleet_fixture = FleetFixture::new(json!({
        "run": {"command": "sleep 1000"},
        "undo": {"run": {"command": "true"}, "verify": {"run": {"command": "true"}}},
    }));
    let worker = fleet_fixture.worker(WorkerConfig {
        concurrency: 1,
        ..config("a")
    });
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    fleet_fixture.ledger.wait_for("start").await;
    let mut back = task("1.1", None);
    back.task.action = TaskAction::Undo;
    back.task.class = TaskClass::Undo;
    fleet_fixture.queue.publish(&back).await.unwrap();
    let finish = fleet_fixture.ledger.wait_for("finish-undo").await;
    assert_eq!(finish.verdict, "PASS", "{}", finish.message);
    assert_eq!(
        fleet_fixture.ledger.kinds(),
        ["start", "start-undo", "finish-undo"]
    );
    *fleet_fixture.ledger.halted.lock().unwrap() = Some("enough".to_owned());
    fleet_fixture.ledger.wait_for("finish").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_actions_finish_and_takes_no_new_ones() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "sleep 0.5"}}));
    let worker = fleet_fixture.worker(config("a"));
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    fleet_fixture.ledger.wait_for("start").await;
    worker.stop().await;
    assert_eq!(fleet_fixture.ledger.kinds(), ["start", "finish"]);
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    let waiting = fleet_fixture
        .queue
        .pull(&[TaskFilter::new(TaskClass::Step, "any")], Duration::ZERO)
        .await
        .unwrap();
    assert!(waiting.is_some(), "nobody took it");
}

#[tokio::test]
async fn an_action_that_outlasts_the_shutdown_is_left_to_the_crash_rules() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "sleep 1000"}}));
    let ledger = fleet_fixture.ledger.clone();
    let worker = fleet_fixture.worker(WorkerConfig {
        drain: Duration::from_millis(100),
        ..config("a")
    });
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    ledger.wait_for("start").await;
    worker.stop().await;
    assert_eq!(ledger.kinds(), ["start"]);
    let worker = fleet_fixture.worker(config("b"));
    let interrupt = ledger.wait_for("interrupt").await;
    assert!(
        interrupt.message.contains("worker a ended"),
        "{}",
        interrupt.message
    );
    worker.stop().await;
}

/// Environment variable by which a test process becomes a worker process.
const CHILD: &str = "ROLLBOOK_TEST_WORKER";

/// The configuration of a worker process.
#[derive(serde::Serialize, serde::Deserialize)]
struct ChildConfig {
    port: u16,
    ledger: String,
    step: Value,
    sections: Value,
}

/// A worker that sends a single heartbeat, as if it were cut off from then on.
fn cut_off(name: &str) -> WorkerConfig {
    WorkerConfig {
        progress_every: Duration::from_secs(600),
        lease: Duration::from_secs(1),
        ..config(name)
    }
}

#[tokio::test]
async fn an_idempotent_command_of_a_worker_that_is_cut_off_is_stopped_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let command = "echo $$ > group; sleep 1000";
    let fleet_fixture = FleetFixture::new(json!({
        "run": {"command": command, "directory": dir.path()},
        "idempotent": true,
    }));
    let worker = fleet_fixture.worker(cut_off("a"));
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    let interrupt = fleet_fixture.ledger.wait_for("interrupt").await;
    assert!(
        interrupt
            .message
            .contains("heard nothing from the queue for 1 s"),
        "{}",
        interrupt.message
    );
    let group = std::fs::read_to_string(dir.path().join("group")).unwrap();
    group_has_ended(group.trim()).await;
    worker.stop().await;
    assert_eq!(fleet_fixture.ledger.kinds(), ["start", "interrupt"]);
}

#[tokio::test]
async fn any_other_command_of_a_worker_that_is_cut_off_continues_and_counts() {
    let fleet_fixture = FleetFixture::new(json!({"run": {"command": "sleep 2"}}));
    let worker = fleet_fixture.worker(cut_off("a"));
    fleet_fixture
        .queue
        .publish(&task("1.1", None))
        .await
        .unwrap();
    let finish = fleet_fixture.ledger.wait_for("finish").await;
    assert_eq!(finish.verdict, "PASS");
    worker.stop().await;
    assert_eq!(fleet_fixture.ledger.kinds(), ["start", "finish"]);
}

/// Not a test: the worker process that the tests below start and kill.
#[tokio::test]
#[ignore = "started by the tests below as a process of its own"]
async fn worker_process() {
    let Ok(config_text) = std::env::var(CHILD) else {
        panic!("this is started by other tests with {CHILD} set");
    };
    let child: ChildConfig = serde_json::from_str(&config_text).unwrap();
    let options = rollbook_ledger::nats::NatsOptions {
        url: format!("nats://127.0.0.1:{}", child.port),
        name: "worker".to_owned(),
        ..Default::default()
    };
    let client = rollbook_ledger::nats::connect(&options).await.unwrap();
    let queue = JetStreamQueue::open(client, "main".parse().unwrap(), OPTIONS)
        .await
        .unwrap();
    let ledger = FileLedger::open(Path::new(&child.ledger), plan(child.step, child.sections));
    let worker = Worker::start(config("killed"), Arc::new(queue), Arc::new(ledger));
    worker.task.await.unwrap();
}

/// A real queue, a ledger in a file, and worker processes.
struct Crash {
    server: Server,
    queue: Arc<JetStreamQueue>,
    ledger: Arc<FileLedger>,
    child: Child,
    dir: TempDir,
}

impl Crash {
    /// Publishes the task, lets a worker process begin it, kills that process with `kill -9` once
    /// `ready` exists, and starts another worker in this process.
    async fn after_kill(
        step: impl Fn(&str) -> Value,
        sections: Value,
        task: &QueuedTask,
    ) -> (Self, Worker) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        let step = step(&path);
        let file = dir.path().join("ledger");
        let ledger = Arc::new(FileLedger::open(
            &file,
            plan(step.clone(), sections.clone()),
        ));
        let server = Server::single(ServerConfig::default()).await;
        let queue = JetStreamQueue::open(server.client().await, "main".parse().unwrap(), OPTIONS)
            .await
            .unwrap();
        queue.publish(task).await.unwrap();
        let child_config = ChildConfig {
            port: server.port,
            ledger: file.to_str().unwrap().to_owned(),
            step,
            sections,
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "fleet_worker::worker_process",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, serde_json::to_string(&child_config).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut crash = Self {
            server,
            queue: Arc::new(queue),
            ledger,
            child,
            dir,
        };
        crash.wait_for_file("ready").await;
        crash.child.kill().unwrap();
        crash.child.wait().unwrap();
        let worker = Worker::start(config("second"), crash.queue.clone(), crash.ledger.clone());
        (crash, worker)
    }

    async fn wait_for_file(&self, name: &str) {
        for _ in 0..1500 {
            if self.dir.path().join(name).exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no {name}: {:#?}", self.ledger.lines());
    }

    /// Waits until the process groups of all attempts are gone.
    async fn commands_have_ended(&self) {
        let groups = std::fs::read_to_string(self.dir.path().join("group")).unwrap();
        for group in groups.lines() {
            group_has_ended(group).await;
        }
    }

    fn effects(&self) -> usize {
        let text = std::fs::read_to_string(self.dir.path().join("effects")).unwrap_or_default();
        text.lines().count()
    }
}

async fn group_has_ended(group: &str) {
    for _ in 0..1500 {
        // The process no longer exists, which `kill` reports.
        let found = Command::new("kill")
            .args(["-0", "--", &format!("-{group}")])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if !found.success() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process group {group} still runs");
}

impl Drop for Crash {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.server.kill();
    }
}

/// Has its effect, signals it, and on the first attempt does not end.
const EFFECT: &str = "echo $$ >> group; echo x >> effects; touch ready; if [ \"$ROLLBOOK_ATTEMPT\" = 1 ]; then sleep 1000; fi";

fn command(extra: Value) -> impl Fn(&str) -> Value {
    move |dir| {
        let mut step = json!({"run": {"command": EFFECT, "directory": dir}});
        for (key, value) in extra.as_object().unwrap() {
            let text = value.to_string().replace("DIR", dir);
            step[key] = serde_json::from_str(&text).unwrap();
        }
        step
    }
}

#[tokio::test]
async fn a_step_killed_without_verify_is_interrupted() {
    let (crash, worker) =
        Crash::after_kill(command(json!({})), json!({}), &task("1.1", None)).await;
    crash.commands_have_ended().await;
    let interrupt = crash.ledger.wait_for("interrupt").await;
    assert!(
        interrupt.message.contains("worker killed ended before"),
        "{}",
        interrupt.message
    );
    worker.stop().await;
    assert_eq!(crash.ledger.kinds(), ["start", "interrupt"]);
    assert_eq!(crash.effects(), 1, "never blindly repeated");
}

#[tokio::test]
async fn a_step_killed_after_its_effect_succeeds_by_verification() {
    let verify = json!({"verify": {"run": {"command": "test -s effects", "directory": "DIR"}}});
    let (crash, worker) = Crash::after_kill(command(verify), json!({}), &task("1.1", None)).await;
    let finish = crash.ledger.wait_for("finish").await;
    assert_eq!(
        (
            finish.verdict.as_str(),
            finish.by_verification,
            finish.effect
        ),
        ("PASS", true, true)
    );
    worker.stop().await;
    assert_eq!(crash.effects(), 1);
}

#[tokio::test]
async fn a_step_killed_before_its_effect_is_interrupted_with_the_result_of_verify() {
    let verify =
        json!({"verify": {"run": {"command": "echo not there >&2; exit 1", "directory": "DIR"}}});
    let (crash, worker) = Crash::after_kill(command(verify), json!({}), &task("1.1", None)).await;
    let interrupt = crash.ledger.wait_for("interrupt").await;
    assert!(
        interrupt.message.contains("not there"),
        "{}",
        interrupt.message
    );
    worker.stop().await;
    assert_eq!(crash.effects(), 1);
}

#[tokio::test]
async fn an_idempotent_step_that_was_killed_runs_again() {
    let (crash, worker) = Crash::after_kill(
        command(json!({"idempotent": true})),
        json!({}),
        &task("1.1", None),
    )
    .await;
    crash.ledger.wait_for("interrupt").await;
    // What the orchestrator does when the ledger has prepared the next attempt.
    let mut next = task("1.1", None);
    next.task.attempt = 2;
    crash.queue.publish(&next).await.unwrap();
    let finish = crash.ledger.wait_for("finish").await;
    assert_eq!((finish.attempt, finish.verdict.as_str()), (2, "PASS"));
    worker.stop().await;
    assert_eq!(
        crash.ledger.kinds(),
        ["start", "interrupt", "start", "finish"]
    );
    assert_eq!(crash.effects(), 2);
}

#[tokio::test]
async fn a_killed_watch_continues_in_the_same_attempt() {
    let step = |dir: &str| {
        json!({
            "title": dir,
            "watch": {"for": "4s", "every": "500ms", "thresholds": [{"metric": "errors", "fail": "value > 5"}]},
        })
    };
    let ready = tempfile::tempdir().unwrap();
    // The metric's command runs in the worker's directory, so it is told where to write its mark.
    let mark = ready.path().join("mark");
    let sections = json!({"metrics": {"errors": {"run": {"command": format!("touch {}; echo 1", mark.display())}}}});
    let dir_mark = mark.clone();
    // `ready` appears in the crash's directory once two samples are recorded.
    let (crash, worker) = Crash::after_kill(
        |dir| {
            let (place, mark) = (dir.to_owned(), dir_mark.clone());
            std::thread::spawn(move || {
                for _ in 0..1500 {
                    let ledger = std::fs::read_to_string(Path::new(&place).join("ledger"))
                        .unwrap_or_default();
                    if mark.exists() && ledger.matches("\"measure\"").count() >= 2 {
                        std::fs::write(Path::new(&place).join("ready"), "").unwrap();
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            step(dir)
        },
        sections,
        &task("1.1", None),
    )
    .await;
    let finish = crash.ledger.wait_for("finish").await;
    assert_eq!(
        (finish.attempt, finish.verdict.as_str()),
        (1, "PASS"),
        "{}",
        finish.message
    );
    assert!(
        finish.message.contains("worker killed ended before"),
        "{}",
        finish.message
    );
    worker.stop().await;
    let kinds = crash.ledger.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "start").count(), 1);
    assert_eq!(kinds.iter().filter(|kind| *kind == "resume").count(), 1);
    let measured: Vec<_> = crash
        .ledger
        .lines()
        .into_iter()
        .filter(|l| l.what == "measure")
        .map(|l| l.at)
        .collect();
    assert!(
        measured.len() <= 9,
        "at most one per sampling time: {measured:?}"
    );
}

#[tokio::test]
async fn a_killed_undo_is_reported_to_a_person() {
    let undo = json!({"undo": {"run": {"command": EFFECT, "directory": "DIR"}}});
    let mut task = task("1.1", None);
    task.task.action = TaskAction::Undo;
    let (crash, worker) = Crash::after_kill(command(undo), json!({}), &task).await;
    let finish = crash.ledger.wait_for("finish-undo").await;
    assert_eq!(finish.verdict, "ERROR");
    assert!(finish.message.contains("not known"), "{}", finish.message);
    worker.stop().await;
    assert_eq!(crash.effects(), 1);
}
