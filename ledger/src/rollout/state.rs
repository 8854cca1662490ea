//! The folded state of a rollout. It holds recorded facts only; the plan is passed beside it and
//! appears here only by its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use rollbook_proto::v1;

use crate::authority::{Requests, Reviews};
use crate::command_ids::CommandIds;
use crate::counter::Counter;
use crate::decimal::Decimal;
use crate::ids::{EnvironmentId, PhaseId, RolloutId, StepId};
use crate::runbook::{RollbackLevel, Selector};

/// The status of the rollout as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Opened but not started; nothing runs.
    Open,
    /// Steps run as they become ready.
    Running,
    /// No new step starts; running steps finish.
    Paused,
    /// A rollback is in progress; no new step starts.
    RollingBack,
    /// Aborted by a person; running steps finish, then the rollout closes.
    Aborted,
    /// Closed; a rollback is still possible.
    Closed(v1::RolloutOutcome),
}

impl Status {
    /// Returns the word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::RollingBack => "rolling back",
            Self::Aborted => "aborted",
            Self::Closed(_) => "closed",
        }
    }

    /// True if the rollout is closed.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// The status of a step. "Ready" is not a status: it follows from plan, state and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepStatus {
    /// Not started, or waiting to be started again.
    Pending,
    /// The last attempt has a recorded intent but no result.
    Running,
    /// The last attempt passed.
    Succeeded,
    /// The last attempt failed by a rule.
    Failed,
    /// The last attempt had no data to judge.
    Inconclusive,
    /// The last attempt could not be executed.
    Errored,
    /// Not applicable: its `when` is false, or one person proposed it and another accepted.
    NotApplicable,
    /// Skipped by a person, with a reason.
    Skipped,
    /// An attempt was started and its effect is unknown.
    Interrupted,
    /// Its undo is running.
    Undoing,
    /// Its effect was undone.
    Undone,
    /// Its undo failed; the effect may still be in place.
    UndoFailed,
}

impl StepStatus {
    /// Returns the word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Errored => "in error",
            Self::NotApplicable => "not applicable",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
            Self::Undoing => "being undone",
            Self::Undone => "undone",
            Self::UndoFailed => "not undone",
        }
    }

    /// True if the last attempt ended without passing.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Inconclusive | Self::Errored)
    }
}

/// Whether a step has an effect that undo must remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// None, or already undone.
    #[default]
    None,
    /// Unknown: an attempt was interrupted.
    Unknown,
    /// An effect is in place.
    Made,
}

/// A claim that a step does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The proposer; another person must agree.
    pub by: String,
    /// The reason.
    pub reason: String,
}

/// The state of a step's undo.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UndoState {
    /// The last undo attempt started; 0 if none.
    pub attempt: u32,
    /// The worker or person that started it.
    pub worker: String,
    /// A person did the undo; a worker only verifies that the effect is gone.
    pub by_hand: bool,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// The message of the last undo attempt.
    pub message: String,
    /// A check other than the undo itself confirmed that the effect is gone.
    pub verified: bool,
    /// The last undo attempt failed and nobody has requested another.
    pub failed: bool,
    /// A person decided to leave the effect in place.
    pub left: bool,
}

/// The part of a recorded sample that a watch needs to continue. Kept small: a watch may take very
/// many samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The value; `None` means measured, but no data.
    pub value: Option<Decimal>,
    /// When it was measured, if the sample says.
    pub at: Option<Timestamp>,
}

/// The samples of one attempt by metric, oldest first. Access is by attempt, so that no attempt is
/// judged by another one's samples.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    attempt: u32,
    by_metric: BTreeMap<String, Vec<Sample>>,
}

/// The samples of an attempt that has none.
static NO_SAMPLES: BTreeMap<String, Vec<Sample>> = BTreeMap::new();

impl Samples {
    /// Returns the samples of this attempt; empty if another attempt's are stored.
    pub fn of(&self, attempt: u32) -> &BTreeMap<String, Vec<Sample>> {
        if self.attempt == attempt {
            &self.by_metric
        } else {
            &NO_SAMPLES
        }
    }

    /// Adds a sample; discards those of any other attempt.
    pub(super) fn add(&mut self, attempt: u32, metric: &str, sample: Sample) {
        if self.attempt != attempt {
            self.attempt = attempt;
            self.by_metric.clear();
        }
        match self.by_metric.get_mut(metric) {
            Some(samples) => samples.push(sample),
            None => {
                self.by_metric.insert(metric.to_owned(), vec![sample]);
            }
        }
    }
}

/// The state of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Its phase.
    pub phase: PhaseId,
    /// Display title.
    pub title: String,
    /// The kind, as in the plan: `run`, `sql` …
    pub kind: String,
    /// Its failure blocks the rollout.
    pub critical: bool,
    /// Its status.
    pub status: StepStatus,
    /// The last attempt; 0 if none.
    pub attempt: u32,
    /// When the last attempt's intent was recorded.
    pub started_at: Option<Timestamp>,
    /// When the last attempt's result was recorded.
    pub finished_at: Option<Timestamp>,
    /// Number of the result's event within the whole history, to tell what happened later.
    pub finished_event: u64,
    /// Number of the event that ended the last attempt, by a result or an interruption.
    pub ended_event: u64,
    /// The last attempt that ended in error, 0 if none; its measurements are incomplete.
    pub errored_attempt: u32,
    /// The worker or person that ran the last attempt.
    pub worker: String,
    /// How many workers were lost during the last attempt, which then continued on another.
    pub losses: u32,
    /// Rule of the last result; may be empty.
    pub rule: String,
    /// Message of the last result, interruption or skip.
    pub message: String,
    /// The effect left to undo.
    pub effect: Effect,
    /// The last attempt passed, including its `verify` if it has one.
    pub has_passed: bool,
    /// The last attempt stopped between parts whose effects persist.
    pub is_partial: bool,
    /// The earliest time at which the next attempt may start.
    pub not_before: Option<Timestamp>,
    /// The attempt (next or last) is a check of a rollback and does not count for the phase.
    pub recheck: bool,
    /// Samples of the last attempt that took any.
    pub samples: Samples,
    /// Evidence of the last result.
    pub evidence: Vec<v1::Evidence>,
    /// People who took part in the step and therefore may not sign its gate.
    pub executors: BTreeSet<String>,
    /// A claim that the step does not apply, waiting for review.
    pub proposal: Option<Proposal>,
    /// The state of its undo.
    pub undo: UndoState,
}

/// A valid sign-off at a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOff {
    /// The signer.
    pub person: String,
    /// The signer's role.
    pub role: String,
    /// When it was given.
    pub at: Timestamp,
    /// When it expires; `None` means never.
    pub expires_at: Option<Timestamp>,
}

/// A rejection in force at a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRefusal {
    /// The person.
    pub person: String,
    /// The person's role.
    pub role: String,
    /// The reason.
    pub reason: String,
}

/// The state of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateState {
    /// Sign-offs that have not been voided.
    pub sign_offs: Vec<SignOff>,
    /// Rejections in force.
    pub refusals: Vec<GateRefusal>,
    /// When it passed; reset when a step of the phase runs again.
    pub passed_at: Option<Timestamp>,
    /// The reasons for which it is blocked, as last recorded.
    pub blocked: Vec<String>,
    /// Digest of all reasons, if the recorded ones were cut or are incomplete.
    pub blocked_sha256: String,
}

/// The state of one phase.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseState {
    /// Display title.
    pub title: String,
    /// Its steps, in order.
    pub steps: Vec<StepId>,
    /// When its first step started.
    pub started_at: Option<Timestamp>,
    /// The recorded rollback point, if any.
    pub rollback_point: Option<String>,
}

/// The last value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The value; `None` means measured, but no data.
    pub value: Option<Decimal>,
    /// The verdict of the measuring step; `Unspecified` if it did not judge the value.
    pub verdict: v1::Verdict,
    /// When it was measured.
    pub at: Timestamp,
    /// The step that measured it.
    pub step: StepId,
    /// The attempt that measured it.
    pub attempt: u32,
    /// Number of the event that recorded it.
    pub event: u64,
    /// Display unit.
    pub unit: String,
}

/// The growth of a metric, treated as a counter, since its first counted value.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The accumulated growth.
    pub counter: Counter,
    /// When its first value was measured.
    pub since: Timestamp,
    /// The step that measured the first value; running it again discards the counter.
    pub step: StepId,
}

/// A changed plan that waits for acceptance.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingRevision {
    /// Its number.
    pub revision: u32,
    /// The canonical plan in the evidence store.
    pub plan: v1::Evidence,
    /// Its outline: phases, steps and gates.
    pub outline: v1::PlanOutline,
    /// The proposer.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// What it changes; `None` for revisions from before differences were recorded.
    pub difference: Option<v1::PlanDifference>,
    /// The new plan's parameters; empty if no difference was recorded.
    pub params: BTreeMap<String, String>,
}

/// An accepted revision of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedRevision {
    /// Its number.
    pub revision: u32,
    /// Digest of the plan.
    pub plan_digest: String,
    /// The proposer.
    pub by: String,
    /// The person who accepted it.
    pub accepted_by: String,
    /// The reason.
    pub reason: String,
    /// What it changed; `None` for revisions from before differences were recorded.
    pub difference: Option<v1::PlanDifference>,
}

/// What one person did alone by breaking glass, with its review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlassUse {
    /// Id of the review.
    pub review: String,
    /// For display: `skip step 1.6`.
    pub what: String,
    /// The person.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// Who reviewed it, and whether they agree; `None` while the review is open.
    pub reviewed: Option<(String, bool)>,
}

/// The rollback in progress, or the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackState {
    /// `rollback-1`, …
    pub id: String,
    /// The level.
    pub level: RollbackLevel,
    /// The reason.
    pub reason: String,
    /// The steps listed at its start, in undo order.
    pub steps: Vec<StepId>,
    /// When it started.
    pub started_at: Timestamp,
    /// Number of the event that started it.
    pub started_event: u64,
    /// What the rollout returns to afterwards.
    pub before: ResumeTo,
    /// The rollback that this one interrupted; it continues when this one has finished.
    pub interrupted: Option<InterruptedRollback>,
    /// The result; `None` while in progress.
    pub verdict: Option<v1::Verdict>,
    /// Number of the event that ended it; failures before it no longer trigger a reaction.
    pub finished_event: Option<u64>,
}

impl RollbackState {
    /// Returns a selector of the effects that it undoes.
    pub fn selector(&self) -> Selector<'_> {
        self.level.selector(&self.steps)
    }
}

/// A rollback suspended by one of level `flags`, which is urgent.
#[derive(Debug, Clone, PartialEq)]
pub struct InterruptedRollback {
    /// `rollback-1`, …
    pub id: String,
    /// The level.
    pub level: RollbackLevel,
    /// The reason.
    pub reason: String,
    /// The steps listed at its start.
    pub steps: Vec<StepId>,
}

/// The last advice of the decision tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Advised {
    /// The rule that held.
    pub rule: String,
    /// Its inputs, with their values.
    pub inputs: Vec<String>,
    /// The advice was withdrawn because the rule no longer holds.
    pub is_over: bool,
    /// Number of the event that recorded it.
    pub event: u64,
}

/// What the rollout does after a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeTo {
    /// It was running or paused; afterwards it is paused.
    Going,
    /// It was aborted; afterwards it closes.
    Aborted,
    /// It was closed; afterwards it closes again as rolled back.
    Closed,
}

/// An unresolved alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `alert-1`, …
    pub id: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// Its watch has ended, so nothing measures the metric any more.
    pub unwatched: bool,
}

/// The state of one rollout, folded from its history.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutState {
    /// The rollout's id.
    pub id: RolloutId,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// Number of events so far.
    pub events: u64,
    /// Display name.
    pub name: String,
    /// Name of the runbook.
    pub runbook: String,
    /// The plan in force.
    pub plan: v1::Evidence,
    /// The plan's digest.
    pub plan_digest: String,
    /// Its revision: 1 at first, one more with each accepted revision.
    pub revision: u32,
    /// The revision that waits for acceptance, if any.
    pub pending_revision: Option<PendingRevision>,
    /// The accepted revisions, in order.
    pub accepted_revisions: Vec<AcceptedRevision>,
    /// The digest of each plan that was ever proposed, by its revision; 1 is that of the opening.
    pub plans: BTreeMap<u32, String>,
    /// The highest revision number assigned so far.
    pub last_revision: u32,
    /// The environment.
    pub environment: EnvironmentId,
    /// The environment is protected.
    pub protected: bool,
    /// Effective parameters.
    pub params: BTreeMap<String, String>,
    /// The current status.
    pub status: Status,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it was last closed.
    pub closed_at: Option<Timestamp>,
    /// Phases, in plan order.
    pub phases: IndexMap<PhaseId, PhaseState>,
    /// Steps, in plan order. An unchanged step shares its `Arc` with the earlier state, so changes
    /// can be found by comparing pointers.
    pub steps: IndexMap<StepId, Arc<StepState>>,
    /// Gates, by phase.
    pub gates: IndexMap<PhaseId, GateState>,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, Measured>,
    /// The baseline of each metric: the final value from the first step in the plan that measured
    /// it.
    pub baselines: BTreeMap<String, Measured>,
    /// The growth of each metric since its first value.
    pub counters: BTreeMap<String, Counted>,
    /// Maps (snapshot, label) to the manifest of the latest capture.
    pub manifests: BTreeMap<(String, String), v1::Evidence>,
    /// Steps whose effect is in place, oldest effect first.
    pub effects: Vec<StepId>,
    /// The rollback in progress, or the last one.
    pub rollback: Option<RollbackState>,
    /// How many rollbacks have been started.
    pub rollbacks: u32,
    /// The last advice.
    pub advice: Option<Advised>,
    /// Unresolved alerts, by step and metric.
    pub alerts: BTreeMap<(StepId, String), Alert>,
    /// How many alerts have been raised.
    pub alerts_raised: u32,
    /// Notices that were sent, or given up.
    pub notices: BTreeSet<String>,
    /// Recorded verdicts of success metrics.
    pub success: BTreeMap<String, v1::Verdict>,
    /// Success metrics recorded for a close that is not recorded yet; one commit may be too small
    /// for all of them.
    pub reviewed: BTreeSet<String>,
    /// Commands that wait for a second person.
    pub requests: Requests,
    /// Open reviews of commands executed by breaking glass.
    pub reviews: Reviews,
    /// What one person did alone by breaking glass, in order.
    pub broken_glass: Vec<GlassUse>,
    /// Texts of its commands that are evidence, in order.
    pub long_texts: Vec<v1::Evidence>,
    /// The ids of applied commands.
    pub command_ids: CommandIds,
}

impl RolloutState {
    /// Returns a step by id.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id).map(Arc::as_ref)
    }

    /// Returns a step by id, for modification; copies it first if it is shared.
    pub(super) fn step_mut(&mut self, id: &StepId) -> Option<&mut StepState> {
        self.steps.get_mut(id).map(Arc::make_mut)
    }

    /// Returns the rollback in progress, if any.
    pub fn current_rollback(&self) -> Option<&RollbackState> {
        self.rollback.as_ref().filter(|r| r.verdict.is_none())
    }
}
