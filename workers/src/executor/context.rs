//! The context of an action: its plan and rollout, the ports it may use, and the signal that ends
//! it early.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::clock::SharedClock;
use rollbook_ledger::decimal::{Decimal, DecimalError};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::flag::FlagUndo;
use rollbook_ledger::ids::{EnvironmentId, FlagKey, RolloutId, StepId};
use rollbook_ledger::measurement;
use rollbook_ledger::rollout::Sample;
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::runbook::model::FlagSpec;
use rollbook_proto::v1;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::database::ScriptProgress;
use super::error::ExecutorError;
use super::progress::ProgressSink;
use super::redact::Redactor;
use super::secret::SecretResolver;
use super::shards::ShardFleet;
use crate::audit::Auditor;
use crate::calculators::Calculators;
use crate::child::Lease;

/// Samples of watches that a worker takes at the same time. Most of a sample is waiting, and those of
/// a source that hangs must not hold up the others.
pub const SAMPLES: usize = 64;

/// A line of a running step's output, already redacted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OutputLine {
    /// The rollout.
    pub rollout: RolloutId,
    /// The step.
    pub step: StepId,
    /// The attempt.
    pub attempt: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line without its line end, at most 4 KiB; a longer line comes in pieces.
    pub text: String,
    /// When the worker read it.
    pub at: Timestamp,
}

/// Receives live output. It is for display only; the record is the evidence.
pub trait OutputSink: Send + Sync + std::fmt::Debug {
    /// Accepts a line. Never blocks; a slow reader loses the oldest lines, not the newest.
    fn line(&self, line: OutputLine);
}

/// Discards live output.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

impl OutputSink for NoOutput {
    fn line(&self, _: OutputLine) {}
}

/// Why the ledger did not do what a worker requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Refused by a rule; retrying does not help.
    #[error("{reason}")]
    Refused {
        /// The refusal, with its code.
        reason: String,
    },
    /// Temporarily unavailable: nothing was recorded, and retrying may succeed.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

/// The state of a flag in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagReading {
    /// The current setting.
    pub setting: v1::FlagSetting,
    /// The setting that an instant rollback writes.
    pub safe: v1::FlagSetting,
    /// The sequence of the flag's last commit.
    pub sequence: u64,
}

/// Which step requests a flag change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagCause {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its step.
    pub step: StepId,
    /// Distinguishes the requests of one step; a request sent twice is applied once.
    pub request: String,
    /// The reason that is recorded.
    pub reason: String,
    /// Id of the commit that led to it, or empty.
    pub causation_id: String,
}

/// The ledger's flags.
#[async_trait]
pub trait FlagPort: Send + Sync + std::fmt::Debug {
    /// Reads the current flag; `None` when it was never defined there.
    async fn read(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<FlagReading>, PortError>;

    /// Defines the flag as in the plan, switched off. Durable on return.
    async fn define(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        spec: &FlagSpec,
        cause: &FlagCause,
    ) -> Result<(), PortError>;

    /// Reads the current flag and what undoing the step's change to `target` means, decided by the
    /// flag's own history; `None` when it was never defined there.
    async fn flag_undo(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        cause: &FlagCause,
        target: &v1::FlagSetting,
        to_safe: bool,
    ) -> Result<Option<(FlagReading, FlagUndo)>, PortError>;

    /// Sets a defined flag; if `expect` is given, only while it has that setting. Durable on
    /// return.
    async fn set(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        setting: v1::FlagSetting,
        expect: Option<&v1::FlagSetting>,
        cause: &FlagCause,
    ) -> Result<(), PortError>;
}

/// The port through which a running watch records its samples.
#[async_trait]
pub trait SampleSink: Send + Sync + std::fmt::Debug {
    /// Records a sample of the running attempt. Durable on return.
    async fn record(&self, measurement: v1::Measurement) -> Result<(), PortError>;
}

/// What the rollout has recorded so far, as far as an action may need it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// (snapshot, label) → manifest of the latest capture.
    pub manifests: BTreeMap<(String, String), v1::Evidence>,
    /// Measurement name → its latest numeric value.
    pub measurements: BTreeMap<String, Decimal>,
    /// Measurement name → the last value of the first step that measured it, this step excluded.
    pub baselines: BTreeMap<String, Decimal>,
    /// Samples by metric, oldest first, that this attempt alone has already recorded; a redelivered
    /// watch resumes from them.
    pub samples: BTreeMap<String, Vec<Sample>>,
    /// The level of the rollback under way. At level `flags` an undo writes the safe value.
    pub rollback: Option<RollbackLevel>,
    /// Whether the step's last attempt passed, including its `verify`.
    pub has_passed: bool,
}

/// The ports an action may use. Cheap to clone; one per worker.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The evidence store.
    pub evidence: EvidenceStore,
    /// The clock.
    pub clock: SharedClock,
    /// Resolves secrets.
    pub secrets: Arc<dyn SecretResolver>,
    /// Receives live output.
    pub output: Arc<dyn OutputSink>,
    /// Receives progress of steps.
    pub progress: Arc<dyn ProgressSink>,
    /// The flags of the ledger.
    pub flags: Arc<dyn FlagPort>,
    /// The HTTP client, with the process's TLS provider.
    pub http: reqwest::Client,
    /// One permit for each sample of a watch that is taken at the same time.
    pub sampling: Arc<Semaphore>,
    /// The calculators for snapshots that declare none, and the declarations for comparisons.
    pub calculators: Arc<dyn Calculators>,
    /// The auditor of deal types.
    pub auditor: Arc<dyn Auditor>,
    /// The fleet that does the shards of snapshots and comparisons; `None`: this process does them
    /// all.
    pub shards: Option<Arc<dyn ShardFleet>>,
}

/// One attempt of one step.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The pinned plan.
    pub plan: Arc<Plan>,
    /// The rollout.
    pub rollout: RolloutId,
    /// The step.
    pub step: StepId,
    /// The environment in which it acts: the step's own, otherwise the rollout's.
    pub environment: EnvironmentId,
    /// The effective parameters of the rollout.
    pub params: Arc<BTreeMap<String, String>>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The worker that executes it, by its recorded name.
    pub worker: String,
    /// When this attempt's intent was recorded.
    pub started_at: Timestamp,
    /// Id of the commit that led to the attempt, or empty.
    pub causation_id: String,
    /// What the rollout recorded before.
    pub facts: Arc<Facts>,
    /// The ports it may use.
    pub tools: Tools,
    /// Records its samples.
    pub samples: Arc<dyn SampleSink>,
    /// Redacts every secret of the plan.
    pub redactor: Redactor,
    /// The signal that ends the action early.
    pub cancel: Cancel,
    /// The lease until which the worker may continue without a sign from the queue; `None` when it
    /// may continue indefinitely, because no other worker starts the step meanwhile.
    pub lease: Option<Lease>,
    /// Raised by the action when it may have changed something.
    pub effect: EffectMark,
}

/// Which attempt of which step acts, where, and with which secrets: everything the environment of a
/// plan's program is built from. Every worker that does a part of the step builds the same one.
#[derive(Clone, Copy)]
pub struct StepScope<'a> {
    /// The pinned plan.
    pub plan: &'a Plan,
    /// The rollout.
    pub rollout: &'a RolloutId,
    /// The step.
    pub step: &'a StepId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The environment in which it acts: the step's own, otherwise the rollout's.
    pub environment: &'a str,
    /// The effective parameters of the rollout.
    pub params: &'a BTreeMap<String, String>,
    /// Resolves secrets.
    pub secrets: &'a dyn SecretResolver,
    /// Redacts every secret of the plan.
    pub redactor: &'a Redactor,
}

impl StepContext {
    /// The scope of this step.
    pub fn scope(&self) -> StepScope<'_> {
        StepScope {
            plan: &self.plan,
            rollout: &self.rollout,
            step: &self.step,
            attempt: self.attempt,
            environment: self.environment.as_str(),
            params: &self.params,
            secrets: self.tools.secrets.as_ref(),
            redactor: &self.redactor,
        }
    }

    /// Stores redacted bytes as evidence; `None` when there is nothing to store.
    pub async fn keep(
        &self,
        bytes: Vec<u8>,
        media_type: &str,
        name: &str,
        truncated: bool,
    ) -> Result<Option<v1::Evidence>, ExecutorError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut evidence = self
            .tools
            .evidence
            .put(bytes.into(), media_type, name)
            .await
            .map_err(|error| ExecutorError::Evidence {
                name: name.to_owned(),
                reason: error.to_string(),
            })?;
        evidence.truncated = truncated;
        Ok(Some(evidence))
    }

    /// A number measured now, without a rule; `None` means no data.
    pub fn number(
        &self,
        metric: &str,
        value: impl Into<Option<Decimal>>,
        unit: &str,
    ) -> v1::Measurement {
        let measurement = v1::Measurement {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            measured_at: Some(rollbook_ledger::clock::to_proto(self.tools.clock.now())),
            ..v1::Measurement::default()
        };
        measurement::with_number(measurement, value.into())
    }

    /// A text measured now, without a rule; a text that parses as a number is recorded as a number,
    /// or as no data if it cannot be held exactly.
    pub fn text_or_number(&self, metric: &str, text: &str) -> v1::Measurement {
        let text = self.redactor.text(text.trim());
        match text.parse::<Decimal>() {
            Ok(value) => self.number(metric, value, ""),
            Err(error) => {
                let text = match error {
                    DecimalError::NotANumber => text,
                    _ => format!("{text}: {error}"),
                };
                self.without_number(metric, &text)
            }
        }
    }

    /// A metric for which there was no data.
    pub fn no_data(&self, metric: &str) -> v1::Measurement {
        self.number(metric, None, "")
    }

    /// A metric whose value is a text, or whose missing number a text explains.
    pub fn without_number(&self, metric: &str, text: &str) -> v1::Measurement {
        v1::Measurement {
            text: text.chars().take(MAX_MEASURED_CHARS).collect(),
            ..self.no_data(metric)
        }
    }

    /// A metric whose source was cut off or did not finish.
    pub fn incomplete(&self, metric: &str, why: &str) -> v1::Measurement {
        v1::Measurement {
            incomplete: true,
            ..self.without_number(metric, why)
        }
    }
}

/// A measured text is cut to this many characters, because it goes into an event.
const MAX_MEASURED_CHARS: usize = 500;

/// Ends an action early, and says why.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Cancel {
    /// Makes a signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. The first reason is kept.
    pub fn cancel(&self, reason: impl Into<String>) {
        self.reason.get_or_init(|| reason.into());
        self.token.cancel();
    }

    /// Whether the signal has been given.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the signal and returns its reason.
    pub async fn cancelled(&self) -> String {
        self.token.cancelled().await;
        self.reason.get().cloned().unwrap_or_default()
    }
}

/// Records that an action may have changed something, and how far it got, even if it is ended
/// early.
#[derive(Debug, Clone, Default)]
pub struct EffectMark(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    raised: AtomicBool,
    /// Set while the action works in parts that each stay in place.
    parts: Mutex<Option<ScriptProgress>>,
}

impl EffectMark {
    /// From here on something may have changed.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
    }

    /// Nothing has changed after all: a transaction was rolled back.
    pub fn lower(&self) {
        self.0.raised.store(false, Ordering::SeqCst);
    }

    /// Whether something may have changed.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    fn parts(&self) -> MutexGuard<'_, Option<ScriptProgress>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on each finished part stays in place, whatever happens to the next.
    pub fn begin_parts(&self) {
        *self.parts() = Some(ScriptProgress::default());
    }

    /// Records one more finished part.
    pub fn part_done(&self, done: ScriptProgress) {
        *self.parts() = Some(done);
    }

    /// All parts are finished.
    pub fn whole(&self) {
        *self.parts() = None;
    }

    /// What is finished of an action that stopped between its parts.
    pub fn partly(&self) -> Option<ScriptProgress> {
        self.parts().clone()
    }
}
