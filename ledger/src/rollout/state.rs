//! What a rollout's history says, and nothing that the plan says: the state records facts, the
//! plan is passed beside it and known here by its digest.

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

/// Where the rollout as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Opened, not started: nothing runs.
    Open,
    /// Steps run as they become ready.
    Running,
    /// No new step starts; running ones finish.
    Paused,
    /// Effects are being taken back; no new step starts.
    RollingBack,
    /// Ended by a person; running steps finish, then it closes.
    Aborted,
    /// Over. A rollback is still possible.
    Closed(v1::RolloutOutcome),
}

impl Status {
    /// The word for people.
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

    /// The rollout is over.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// Where one step stands. "Ready" is not among them: it follows from plan, state and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepStatus {
    /// Not started, or to be started again.
    Pending,
    /// An attempt has its intent recorded and no result.
    Running,
    /// The last attempt passed.
    Succeeded,
    /// The last attempt failed by a rule.
    Failed,
    /// The last attempt had no data to judge by.
    Inconclusive,
    /// The last attempt could not be carried out.
    Errored,
    /// Does not apply: by its `when`, or proposed by one person and accepted by another.
    NotApplicable,
    /// Left out by a person, with a reason.
    Skipped,
    /// An attempt was begun and nobody knows what it did.
    Interrupted,
    /// Its undo runs.
    Undoing,
    /// Its effect has been taken back.
    Undone,
    /// Its undo failed; the effect may stand.
    UndoFailed,
}

impl StepStatus {
    /// The word for people.
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

    /// An attempt ended without passing.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Inconclusive | Self::Errored)
    }
}

/// Whether a step has left something that undo must take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// Nothing, or taken back.
    #[default]
    None,
    /// An attempt was interrupted: it may have.
    Unknown,
    /// It has.
    Made,
}

/// A claim that a step does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Who claims it; someone else must agree.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A step's undo.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UndoState {
    /// The last attempt that was started; 0: none.
    pub attempt: u32,
    /// Who started it.
    pub worker: String,
    /// A person did it: a worker only looks whether the effect is gone.
    pub by_hand: bool,
    /// When.
    pub started_at: Option<Timestamp>,
    /// What the last attempt said.
    pub message: String,
    /// Something other than the undo has seen that the effect is gone.
    pub verified: bool,
    /// The last attempt failed and nobody has asked for another.
    pub failed: bool,
    /// A person decided to leave the effect.
    pub left: bool,
}

/// What a watch needs of a recorded sample to go on from it. A watch may take very many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// `None`: measured, no data.
    pub value: Option<Decimal>,
    /// When, if the sample says.
    pub at: Option<Timestamp>,
}

/// The samples of one attempt by metric, oldest first. They are given out for that attempt only,
/// so that no attempt is judged by what another one measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    attempt: u32,
    by_metric: BTreeMap<String, Vec<Sample>>,
}

/// What an attempt without samples has.
static NO_SAMPLES: BTreeMap<String, Vec<Sample>> = BTreeMap::new();

impl Samples {
    /// Those of this attempt.
    pub fn of(&self, attempt: u32) -> &BTreeMap<String, Vec<Sample>> {
        if self.attempt == attempt {
            &self.by_metric
        } else {
            &NO_SAMPLES
        }
    }

    /// Adds one; those of another attempt go.
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

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// Its phase.
    pub phase: PhaseId,
    /// Title for people.
    pub title: String,
    /// Kind as in the plan: `run`, `sql` …
    pub kind: String,
    /// Its failure blocks the rollout.
    pub critical: bool,
    /// Where it stands.
    pub status: StepStatus,
    /// The last attempt; 0: none.
    pub attempt: u32,
    /// When the last attempt's intent was recorded.
    pub started_at: Option<Timestamp>,
    /// When its result was.
    pub finished_at: Option<Timestamp>,
    /// Number of the event with its result, counted over the whole history: what was later.
    pub finished_event: u64,
    /// Number of the event that ended the last attempt: its result or its interruption.
    pub ended_event: u64,
    /// The last attempt that ended in error; 0: none. What it measured is not complete.
    pub errored_attempt: u32,
    /// Who runs or ran the last attempt.
    pub worker: String,
    /// Workers that were lost while they ran the last attempt, which then went on elsewhere.
    pub losses: u32,
    /// Rule of the last result, or empty.
    pub rule: String,
    /// What the last result, interruption or skip said.
    pub message: String,
    /// What is left to take back.
    pub effect: Effect,
    /// The last attempt passed: its `verify`, where it has one, has seen the effect.
    pub has_passed: bool,
    /// Its last attempt stopped between parts that each stay.
    pub is_partial: bool,
    /// The next attempt may not start before.
    pub not_before: Option<Timestamp>,
    /// The attempt (to come or last) checks a rollback and does not count for the phase.
    pub recheck: bool,
    /// Samples of the last attempt that took any.
    pub samples: Samples,
    /// Evidence of the last result.
    pub evidence: Vec<v1::Evidence>,
    /// Persons who had a hand in it; they may not sign its gate.
    pub executors: BTreeSet<String>,
    /// A claim that waits for review.
    pub proposal: Option<Proposal>,
    /// Its undo.
    pub undo: UndoState,
}

/// A sign-off that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOff {
    /// Who signed.
    pub person: String,
    /// In which role.
    pub role: String,
    /// When.
    pub at: Timestamp,
    /// Until when it counts; `None`: without end.
    pub expires_at: Option<Timestamp>,
}

/// A refusal that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRefusal {
    /// Who refused.
    pub person: String,
    /// In which role.
    pub role: String,
    /// Why.
    pub reason: String,
}

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateState {
    /// Sign-offs that count.
    pub sign_offs: Vec<SignOff>,
    /// Refusals that stand.
    pub refusals: Vec<GateRefusal>,
    /// When it passed; taken back when a step of the phase runs again.
    pub passed_at: Option<Timestamp>,
    /// The reasons last recorded for it being shut.
    pub blocked: Vec<String>,
    /// Digest of all of them, where some were cut or left out.
    pub blocked_sha256: String,
}

/// One phase.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseState {
    /// Title for people.
    pub title: String,
    /// Its steps, in order.
    pub steps: Vec<StepId>,
    /// When its first step started.
    pub started_at: Option<Timestamp>,
    /// The point to come back to, once recorded.
    pub rollback_point: Option<String>,
}

/// The last value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// `None`: measured, no data.
    pub value: Option<Decimal>,
    /// What the measuring step made of it; `Unspecified`: it was not judged.
    pub verdict: v1::Verdict,
    /// When.
    pub at: Timestamp,
    /// By which step.
    pub step: StepId,
    /// In which attempt of it.
    pub attempt: u32,
    /// Number of the event that recorded it.
    pub event: u64,
    /// Unit for people.
    pub unit: String,
}

/// All values of a metric since the first one that counts, taken as those of a counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// How it has grown.
    pub counter: Counter,
    /// When its first value was measured.
    pub since: Timestamp,
    /// By which step; when that runs again, its first value no longer counts.
    pub step: StepId,
}

/// A plan that waits for acceptance.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingRevision {
    /// Its number.
    pub revision: u32,
    /// The plan.
    pub plan: v1::Evidence,
    /// Its skeleton.
    pub outline: v1::PlanOutline,
    /// Who brought it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What it changes; `None` where it was recorded before differences were.
    pub difference: Option<v1::PlanDifference>,
    /// Its parameters, where the difference is known.
    pub params: BTreeMap<String, String>,
}

/// A changed plan that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedRevision {
    /// Its number.
    pub revision: u32,
    /// Digest of the plan.
    pub plan_digest: String,
    /// Who brought it.
    pub by: String,
    /// Who accepted it.
    pub accepted_by: String,
    /// Why.
    pub reason: String,
    /// What it changed; `None` where it was recorded before differences were.
    pub difference: Option<v1::PlanDifference>,
}

/// The rollback under way, or the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackState {
    /// `rollback-1`, …
    pub id: String,
    /// How far.
    pub level: RollbackLevel,
    /// Why.
    pub reason: String,
    /// The steps named at its start, in the order of undoing.
    pub steps: Vec<StepId>,
    /// When it started.
    pub started_at: Timestamp,
    /// Number of the event that started it.
    pub started_event: u64,
    /// Status before it.
    pub before: ResumeTo,
    /// The rollback that it interrupted and that goes on when this one has finished.
    pub interrupted: Option<InterruptedRollback>,
    /// Its result; `None`: under way.
    pub verdict: Option<v1::Verdict>,
    /// Number of the event that ended it. What failed before that has been answered by it.
    pub finished_event: Option<u64>,
}

impl RollbackState {
    /// The effects that it takes back.
    pub fn selector(&self) -> Selector<'_> {
        self.level.selector(&self.steps)
    }
}

/// A rollback that stands back behind one of level `flags`, which is urgent.
#[derive(Debug, Clone, PartialEq)]
pub struct InterruptedRollback {
    /// `rollback-1`, …
    pub id: String,
    /// How far it goes.
    pub level: RollbackLevel,
    /// Why.
    pub reason: String,
    /// The steps named at its start.
    pub steps: Vec<StepId>,
}

/// What the decision tree said last.
#[derive(Debug, Clone, PartialEq)]
pub struct Advised {
    /// The rule that held.
    pub rule: String,
    /// Its inputs, with their values.
    pub inputs: Vec<String>,
    /// It no longer holds.
    pub is_over: bool,
    /// Number of the event.
    pub event: u64,
}

/// What the rollout was when a rollback began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeTo {
    /// Running or paused: afterwards it is paused.
    Going,
    /// Aborted: afterwards it closes.
    Aborted,
    /// Closed: afterwards it closes again, rolled back.
    Closed,
}

/// An alert that has not been resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `alert-1`, …
    pub id: String,
    /// info warning error critical
    pub severity: String,
    /// Its watch has ended: nothing measures any more what it is about.
    pub unwatched: bool,
}

/// The folded history of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutState {
    /// Which rollout.
    pub id: RolloutId,
    /// Sequence of its last commit.
    pub sequence: u64,
    /// Events so far.
    pub events: u64,
    /// Name for people.
    pub name: String,
    /// Name of the runbook.
    pub runbook: String,
    /// The plan in force.
    pub plan: v1::Evidence,
    /// Its digest.
    pub plan_digest: String,
    /// From 1; one more with each accepted revision.
    pub revision: u32,
    /// A revision that waits for acceptance.
    pub pending_revision: Option<PendingRevision>,
    /// The revisions that were accepted, in order.
    pub accepted_revisions: Vec<AcceptedRevision>,
    /// Highest revision number ever given out.
    pub last_revision: u32,
    /// Environment.
    pub environment: EnvironmentId,
    /// The environment asks for more care.
    pub protected: bool,
    /// Effective parameters.
    pub params: BTreeMap<String, String>,
    /// Where it stands.
    pub status: Status,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it was last closed.
    pub closed_at: Option<Timestamp>,
    /// Phases in order.
    pub phases: IndexMap<PhaseId, PhaseState>,
    /// Steps in order of the plan. One that has not changed is the same in the states before and
    /// after.
    pub steps: IndexMap<StepId, Arc<StepState>>,
    /// Gates by phase.
    pub gates: IndexMap<PhaseId, GateState>,
    /// Last value per metric.
    pub metrics: BTreeMap<String, Measured>,
    /// What the first step of the plan that has measured a metric ended with.
    pub baselines: BTreeMap<String, Measured>,
    /// What each metric has grown by since its first value.
    pub counters: BTreeMap<String, Counted>,
    /// (snapshot, label) → manifest of the latest capture.
    pub manifests: BTreeMap<(String, String), v1::Evidence>,
    /// Steps that have left an effect, oldest first.
    pub effects: Vec<StepId>,
    /// The rollback under way, or the last one.
    pub rollback: Option<RollbackState>,
    /// How many rollbacks were started.
    pub rollbacks: u32,
    /// The last advice.
    pub advice: Option<Advised>,
    /// Alerts not resolved, by step and metric.
    pub alerts: BTreeMap<(StepId, String), Alert>,
    /// How many alerts were raised.
    pub alerts_raised: u32,
    /// Notices sent, or tried and given up.
    pub notices: BTreeSet<String>,
    /// Success metrics recorded.
    pub success: BTreeMap<String, v1::Verdict>,
    /// Those of them that were recorded for a close that is not recorded yet: one commit may not
    /// hold them all.
    pub reviewed: BTreeSet<String>,
    /// Commands that wait for a second person.
    pub requests: Requests,
    /// What was done by breaking glass and has not been reviewed.
    pub reviews: Reviews,
    /// Commands applied.
    pub command_ids: CommandIds,
}

impl RolloutState {
    /// A step by id.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id).map(Arc::as_ref)
    }

    /// A step by id, to be changed.
    pub(super) fn step_mut(&mut self, id: &StepId) -> Option<&mut StepState> {
        self.steps.get_mut(id).map(Arc::make_mut)
    }

    /// The rollback that is under way.
    pub fn current_rollback(&self) -> Option<&RollbackState> {
        self.rollback.as_ref().filter(|r| r.verdict.is_none())
    }
}
