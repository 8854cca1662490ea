//! A ledger in a file shared by worker processes: each accepted record is one line, and the lines
//! decide what may be recorded next, by the rules that a rollout has for its steps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::decimal::Decimal;
use rollbook_ledger::ids::RolloutId;
use rollbook_ledger::rollout::{Sample, Task, TaskAction, TaskClass, WorkerCommand};
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::trace::Cause;
use rollbook_proto::v1::Verdict;
use rollbook_workers::executor::{Facts, PortError};
use rollbook_workers::fleet::{Assignment, RolloutChanges, RolloutPort, TaskState};
use serde::{Deserialize, Serialize};

/// One accepted record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub id: String,
    /// `start`, `measure`, `finish`, `interrupt`, `resume`, `start-undo`, `finish-undo`.
    pub what: String,
    pub attempt: u32,
    pub worker: String,
    pub verdict: String,
    pub message: String,
    pub by_verification: bool,
    pub effect: bool,
    pub value: Option<f64>,
    pub at: Timestamp,
}

/// The ledger of one rollout with one step.
#[derive(Debug)]
pub struct FileLedger {
    file: PathBuf,
    plan: Arc<Plan>,
    /// This many records fail as unavailable before any is accepted again.
    pub unavailable: AtomicUsize,
    pub halted: Mutex<Option<String>>,
}

impl FileLedger {
    pub fn open(file: &Path, plan: Arc<Plan>) -> Self {
        Self {
            file: file.to_owned(),
            plan,
            unavailable: AtomicUsize::new(0),
            halted: Mutex::new(None),
        }
    }

    /// Like `open`, with the step already started by a coordinator.
    pub async fn running(file: &Path, plan: Arc<Plan>) -> Self {
        let ledger = Self::open(file, plan);
        let start = WorkerCommand::StartStep {
            step: "1.1".parse().unwrap(),
            attempt: 1,
            worker: "coordinator".to_owned(),
            intent: "try it".to_owned(),
        };
        let id = "test-1".parse().unwrap();
        let cause = Cause::default();
        let recorded = ledger.record(&id, start, "start", "test", &cause);
        recorded.await.unwrap();
        ledger
    }

    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits for the first record of a kind.
    pub async fn wait_for(&self, what: &str) -> Line {
        for _ in 0..1500 {
            if let Some(line) = self.lines().into_iter().find(|line| line.what == what) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no {what} in {:#?}", self.lines());
    }

    pub fn kinds(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.what).collect()
    }

    fn task_state(&self, task: &Task) -> TaskState {
        let (start, ends): (&str, &[&str]) = match task.action {
            TaskAction::Execute => ("start", &["finish", "interrupt"]),
            TaskAction::Undo => ("start-undo", &["finish-undo"]),
            TaskAction::VerifyUndo => ("start-undo", &["finish-undo"]),
        };
        let lines = self.lines();
        let of_attempt = |what: &str| {
            lines
                .iter()
                .find(|line| line.what == what && line.attempt == task.attempt)
        };
        if ends.iter().any(|end| of_attempt(end).is_some()) {
            return TaskState::Stale("it has its result".to_owned());
        }
        let resumed = lines
            .iter()
            .rfind(|line| line.what == "resume" && line.attempt == task.attempt);
        match resumed.or(of_attempt(start)) {
            Some(line) => TaskState::Running {
                worker: line.worker.clone(),
                started_at: line.at,
            },
            None => TaskState::Wanted,
        }
    }
}

#[async_trait]
impl RolloutPort for FileLedger {
    async fn read_task(&self, _: &RolloutId, task: &Task) -> Result<Assignment, PortError> {
        let mut samples: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        for line in self.lines() {
            if line.what == "measure" && line.attempt == task.attempt {
                let sample = Sample {
                    value: line.value.and_then(|value| Decimal::from_f64(value).ok()),
                    at: Some(line.at),
                };
                samples.entry(line.message).or_default().push(sample);
            }
        }
        Ok(Assignment {
            plan: Arc::clone(&self.plan),
            environment: "staging".parse().unwrap(),
            params: BTreeMap::new(),
            state: self.task_state(task),
            halted: self.halted.lock().unwrap().clone(),
            facts: Facts {
                samples,
                ..Facts::default()
            },
        })
    }

    /// Written by one process alone: nothing changes but by its own records.
    async fn follow_changes(&self, _: &RolloutChanges) -> Result<(), PortError> {
        std::future::pending().await
    }

    async fn record(
        &self,
        _: &RolloutId,
        command: WorkerCommand,
        command_id: &str,
        worker: &str,
        _: &Cause,
    ) -> Result<(), PortError> {
        let fails = self
            .unavailable
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if fails.is_ok() {
            return Err(PortError::Unavailable {
                reason: "the ledger is away".to_owned(),
            });
        }
        if self.lines().iter().any(|line| line.id == command_id) {
            return Ok(());
        }
        let mut line = Line {
            id: command_id.to_owned(),
            what: String::new(),
            attempt: 0,
            worker: worker.to_owned(),
            verdict: String::new(),
            message: String::new(),
            by_verification: false,
            effect: false,
            value: None,
            at: Timestamp::now(),
        };
        let word = |verdict: i32| Verdict::try_from(verdict).unwrap().as_str_name().to_owned();
        let action = match command {
            WorkerCommand::StartStep {
                attempt, intent, ..
            } => {
                (line.what, line.attempt, line.message) = ("start".to_owned(), attempt, intent);
                TaskAction::Execute
            }
            WorkerCommand::Measure {
                attempt,
                measurement,
                ..
            } => {
                line.at =
                    rollbook_ledger::clock::from_proto(measurement.measured_at.as_ref()).unwrap();
                line.value = measurement.value;
                (line.what, line.attempt, line.message) =
                    ("measure".to_owned(), attempt, measurement.metric);
                TaskAction::Execute
            }
            WorkerCommand::FinishStep { finished, .. } => {
                line.by_verification = finished.by_verification;
                line.effect = finished.effect;
                line.verdict = word(finished.verdict);
                (line.what, line.attempt, line.message) =
                    ("finish".to_owned(), finished.attempt, finished.message);
                TaskAction::Execute
            }
            WorkerCommand::InterruptStep {
                attempt, reason, ..
            } => {
                (line.what, line.attempt, line.message) = ("interrupt".to_owned(), attempt, reason);
                TaskAction::Execute
            }
            WorkerCommand::ResumeStep {
                attempt,
                worker,
                reason,
                ..
            } => {
                (line.what, line.attempt, line.message) = ("resume".to_owned(), attempt, reason);
                line.worker = worker;
                TaskAction::Execute
            }
            WorkerCommand::StartUndo {
                attempt, intent, ..
            } => {
                (line.what, line.attempt, line.message) =
                    ("start-undo".to_owned(), attempt, intent);
                TaskAction::Undo
            }
            WorkerCommand::FinishUndo { finished } => {
                line.verdict = word(finished.verdict);
                (line.what, line.attempt, line.message) =
                    ("finish-undo".to_owned(), finished.attempt, finished.message);
                TaskAction::Undo
            }
        };
        let task_state = self.task_state(&Task {
            step: "1.1".parse().unwrap(),
            action,
            attempt: line.attempt,
            runs_on: None,
            class: TaskClass::Step,
        });
        let begins = line.what.starts_with("start");
        let legal = match task_state {
            TaskState::Wanted => begins,
            TaskState::Running { .. } => !begins,
            TaskState::Stale(_) | TaskState::Interrupted => false,
        };
        if !legal {
            return Err(PortError::Refused {
                reason: format!("{} does not follow", line.what),
            });
        }
        let mut text = serde_json::to_string(&line).unwrap();
        text.push('\n');
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.file)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Ok(())
    }
}
