//! What an action is given: the plan and the rollout it belongs to, the ports it may use, and
//! the signal that ends it early.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rollbook_ledger::clock::SharedClock;
use rollbook_ledger::decimal::{Decimal, DecimalError};
use rollbook_ledger::evidence::EvidenceStore;
use rollbook_ledger::flag::WayBack;
use rollbook_ledger::ids::{EnvironmentId, FlagKey, RolloutId, StepId};
use rollbook_ledger::measurement;
use rollbook_ledger::rollout::Sample;
use rollbook_ledger::runbook::Plan;
use rollbook_ledger::runbook::RollbackLevel;
use rollbook_ledger::runbook::model::FlagSpec;
use rollbook_proto::v1;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::database::Done;
use super::error::ExecutorError;
use super::progress::ProgressSink;
use super::redact::Redactor;
use super::secret::SecretResolver;
use super::shards::ShardFleet;
use crate::audit::Auditor;
use crate::calculators::Calculators;
use crate::child::Lease;

/// Samples of watches that a worker takes at the same time.
pub const SAMPLES: usize = 16;

/// A line of a running step's output, already redacted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OutputLine {
    /// Which rollout.
    pub rollout: RolloutId,
    /// Which step.
    pub step: StepId,
    /// Which attempt.
    pub attempt: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line without its end; at most 4 KiB, a longer one comes in pieces.
    pub text: String,
    /// When the worker read it.
    pub at: Timestamp,
}

/// Where live output goes. For the eye only: what counts is the evidence.
pub trait OutputSink: Send + Sync + std::fmt::Debug {
    /// Takes a line. Never blocks; a slow reader loses the oldest lines, not the newest.
    fn line(&self, line: OutputLine);
}

/// Drops live output.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

impl OutputSink for NoOutput {
    fn line(&self, _: OutputLine) {}
}

/// Why the ledger did not do what a worker asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// By rule; asking again changes nothing.
    #[error("{reason}")]
    Refused {
        /// The refusal, with its code.
        reason: String,
    },
    /// Not now; nothing was recorded, and asking again may succeed.
    #[error("{reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
}

/// A flag as it stands in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagReading {
    /// What it is set to.
    pub setting: v1::FlagSetting,
    /// What an instant rollback writes.
    pub safe: v1::FlagSetting,
    /// Sequence of the flag's last commit.
    pub sequence: u64,
}

/// Which step asks for a flag change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagCause {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its step.
    pub step: StepId,
    /// Distinguishes the requests of one step; the same request may be sent twice and is
    /// applied once.
    pub request: String,
    /// Why, for the record.
    pub reason: String,
    /// Id of the commit that led to it, or empty.
    pub causation_id: String,
}

/// The ledger's flags.
#[async_trait]
pub trait FlagPort: Send + Sync + std::fmt::Debug {
    /// The flag as of now; `None` when it was never defined there.
    async fn read(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
    ) -> Result<Option<FlagReading>, PortError>;

    /// Defines the flag from the plan, switched off. Durable on return.
    async fn define(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        spec: &FlagSpec,
        cause: &FlagCause,
    ) -> Result<(), PortError>;

    /// The flag as of now and what taking the step's change to `target` back means then, decided by
    /// the flag's own history; `None` when it was never defined there.
    async fn way_back(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        cause: &FlagCause,
        target: &v1::FlagSetting,
        to_safe: bool,
    ) -> Result<Option<(FlagReading, WayBack)>, PortError>;

    /// Sets a defined flag, only if it is set to `expect` where that is given. Durable on return.
    async fn set(
        &self,
        environment: &EnvironmentId,
        key: &FlagKey,
        setting: v1::FlagSetting,
        expect: Option<&v1::FlagSetting>,
        cause: &FlagCause,
    ) -> Result<(), PortError>;
}

/// Where a watch records its samples while it runs.
#[async_trait]
pub trait SampleSink: Send + Sync + std::fmt::Debug {
    /// Records a sample of the running attempt. Durable on return.
    async fn record(&self, measurement: v1::Measurement) -> Result<(), PortError>;
}

/// What the rollout has recorded so far and an action may need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// (snapshot, label) → manifest of the latest capture.
    pub manifests: BTreeMap<(String, String), v1::Evidence>,
    /// Measurement name → its latest numeric value.
    pub measurements: BTreeMap<String, Decimal>,
    /// Measurement name → what the first step that measured it ended with, of other steps than
    /// this one.
    pub baselines: BTreeMap<String, Decimal>,
    /// Samples that this attempt, and no other, has recorded already by metric, oldest first: what a redelivered
    /// watch goes on from.
    pub samples: BTreeMap<String, Vec<Sample>>,
    /// Level of the rollback under way. At level `flags` an undo writes the safe value.
    pub rollback: Option<RollbackLevel>,
    /// The step's last attempt passed, and its `verify` with it.
    pub has_passed: bool,
}

/// What an action may touch. Cheap to clone; one per worker.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Where documents are kept.
    pub evidence: EvidenceStore,
    /// The time.
    pub clock: SharedClock,
    /// Secret values.
    pub secrets: Arc<dyn SecretResolver>,
    /// Live output.
    pub output: Arc<dyn OutputSink>,
    /// How far steps are.
    pub progress: Arc<dyn ProgressSink>,
    /// The ledger's flags.
    pub flags: Arc<dyn FlagPort>,
    /// HTTP, with the process's TLS provider.
    pub http: reqwest::Client,
    /// One permit for each sample of a watch that is taken at the same time.
    pub sampling: Arc<Semaphore>,
    /// What computes snapshots that declare no calculator, and what comparisons are told of them.
    pub calculators: Arc<dyn Calculators>,
    /// Audits deal types.
    pub auditor: Arc<dyn Auditor>,
    /// The fleet that does the shards of snapshots and comparisons; `None`: this process does
    /// them all.
    pub shards: Option<Arc<dyn ShardFleet>>,
}

/// One attempt of one step.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The pinned plan.
    pub plan: Arc<Plan>,
    /// Which rollout.
    pub rollout: RolloutId,
    /// Which step.
    pub step: StepId,
    /// Where it acts: the step's environment, else the rollout's.
    pub environment: EnvironmentId,
    /// Effective parameters of the rollout.
    pub params: Arc<BTreeMap<String, String>>,
    /// From 1.
    pub attempt: u32,
    /// Who carries it out, by the name on the record.
    pub worker: String,
    /// When this attempt's intent was recorded.
    pub started_at: Timestamp,
    /// Id of the commit that led to the attempt, or empty.
    pub causation_id: String,
    /// What was recorded before.
    pub facts: Arc<Facts>,
    /// What it may touch.
    pub tools: Tools,
    /// Where samples go.
    pub samples: Arc<dyn SampleSink>,
    /// Takes every secret of the plan out of bytes.
    pub redactor: Redactor,
    /// Ends the action early.
    pub cancel: Cancel,
    /// Until when the worker may go on without a sign from the queue; `None`: for as long as it
    /// takes, because nobody begins the step beside it.
    pub lease: Option<Lease>,
    /// Raised by an action when it may have changed something.
    pub effect: EffectMark,
}

/// Which attempt of which step acts, where, and with what secrets: all that the environment of a
/// program of the plan is made of. Every worker that does a part of the step makes the same.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The pinned plan.
    pub plan: &'a Plan,
    /// Which rollout.
    pub rollout: &'a RolloutId,
    /// Which step.
    pub step: &'a StepId,
    /// From 1.
    pub attempt: u32,
    /// Where it acts: the step's environment, else the rollout's.
    pub environment: &'a str,
    /// Effective parameters of the rollout.
    pub params: &'a BTreeMap<String, String>,
    /// Secret values.
    pub secrets: &'a dyn SecretResolver,
    /// Takes every secret of the plan out of bytes.
    pub redactor: &'a Redactor,
}

impl StepContext {
    /// The step's own scope.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
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

    /// A number measured now, without a rule; `None` is no data.
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

    /// A text measured now, without a rule; a text that reads as a number is one. One that cannot
    /// be held exactly is none.
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

    /// A metric for which there was nothing to measure.
    pub fn no_data(&self, metric: &str) -> v1::Measurement {
        self.number(metric, None, "")
    }

    /// A metric whose value is a text, or of which a text says why there is no number.
    pub fn without_number(&self, metric: &str, text: &str) -> v1::Measurement {
        v1::Measurement {
            text: text.chars().take(MAX_MEASURED_CHARS).collect(),
            ..self.no_data(metric)
        }
    }

    /// A metric that would have been read from something that was cut or did not end.
    pub fn incomplete(&self, metric: &str, why: &str) -> v1::Measurement {
        v1::Measurement {
            incomplete: true,
            ..self.without_number(metric, why)
        }
    }
}

/// A measured text is cut after this many characters: it goes into an event.
const MAX_MEASURED_CHARS: usize = 500;

/// Ends an action early, and says why.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Cancel {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. The first reason stays.
    pub fn cancel(&self, reason: impl Into<String>) {
        self.reason.get_or_init(|| reason.into());
        self.token.cancel();
    }

    /// Whether the signal has been given.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the signal; gives its reason.
    pub async fn cancelled(&self) -> String {
        self.token.cancelled().await;
        self.reason.get().cloned().unwrap_or_default()
    }
}

/// Remembers that an action may have changed something, and how far it came, even when it is
/// ended early.
#[derive(Debug, Clone, Default)]
pub struct EffectMark(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    raised: AtomicBool,
    /// Set while the action works in parts that each stay.
    parts: Mutex<Option<Done>>,
}

impl EffectMark {
    /// Something may have changed from here on.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
    }

    /// It is known that nothing changed after all (a transaction was rolled back).
    pub fn lower(&self) {
        self.0.raised.store(false, Ordering::SeqCst);
    }

    /// Whether something may have changed.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    fn parts(&self) -> MutexGuard<'_, Option<Done>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on each part that is done stays, whatever becomes of the next.
    pub fn begin_parts(&self) {
        *self.parts() = Some(Done::default());
    }

    /// One more part is done.
    pub fn part_done(&self, done: Done) {
        *self.parts() = Some(done);
    }

    /// All parts are done.
    pub fn whole(&self) {
        *self.parts() = None;
    }

    /// What is done of an action that stopped between its parts.
    pub fn partly(&self) -> Option<Done> {
        self.parts().clone()
    }
}
