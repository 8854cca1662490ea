//! The rows that the projection of the next commit may change or depend on. The state is always a
//! subset of a store's rows, loaded when needed, so it starts empty after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rows::{
    AlertRow, AuditRow, ComparisonRow, EnvironmentRow, FlagRow, GateRow, HealthRow, PhaseRow,
    RequestRow, RevisionRow, RollbackRow, RolloutRow, SignOffRow, StepRow, SuccessMetricRow,
    WorkerRow,
};
use super::words::Verdict;
use super::words::{AlertStatus, GateStatus, Health, RevisionStatus, SignOffStatus, StepRowStatus};
use crate::ids::Aggregate;
use crate::journal::StoredCommit;

/// The loaded rows, by aggregate.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) rollouts: HashMap<String, RolloutRows>,
    pub(super) flags: HashMap<(String, String), FlagRow>,
    pub(super) flag_requests: HashMap<(String, String), Vec<RequestRow>>,
    pub(super) workers: HashMap<String, WorkerRow>,
    pub(super) environments: HashMap<String, EnvironmentRow>,
}

/// The rows of one rollout that later events may change or on which its health depends.
#[derive(Debug, Clone)]
pub struct RolloutRows {
    /// The rollout.
    pub rollout: RolloutRow,
    /// Its health.
    pub health: HealthRow,
    /// Its phases by id, including dropped ones.
    pub phases: BTreeMap<String, PhaseRow>,
    /// Its steps by id, including dropped ones.
    pub steps: BTreeMap<String, StepRow>,
    /// Its gates by id, including dropped ones.
    pub gates: BTreeMap<String, GateRow>,
    /// Sign-offs and rejections that are not voided, in order.
    pub sign_offs: Vec<SignOffRow>,
    /// Open alerts, in order.
    pub alerts: Vec<AlertRow>,
    /// Rollbacks, in order.
    pub rollbacks: Vec<RollbackRow>,
    /// Comparisons that no later one supersedes, in order.
    pub comparisons: Vec<ComparisonRow>,
    /// The latest audit.
    pub audit: Option<AuditRow>,
    /// Success metrics by name.
    pub metrics: BTreeMap<String, SuccessMetricRow>,
    /// The pending plan revision, if any.
    pub revision: Option<RevisionRow>,
    /// Pending requests and open reviews, in order.
    pub requests: Vec<RequestRow>,
}

impl RolloutRows {
    /// Creates the state of a rollout of which only its own row is known.
    pub fn new(rollout: RolloutRow) -> Self {
        let health = HealthRow {
            rollout: rollout.rollout.clone(),
            status: Health::NoData,
            score: None,
            deductions: Default::default(),
            changed_at: rollout.opened_at,
            updated_sequence: rollout.opened_sequence,
        };
        Self {
            rollout,
            health,
            phases: BTreeMap::new(),
            steps: BTreeMap::new(),
            gates: BTreeMap::new(),
            sign_offs: Vec::new(),
            alerts: Vec::new(),
            rollbacks: Vec::new(),
            comparisons: Vec::new(),
            audit: None,
            metrics: BTreeMap::new(),
            revision: None,
            requests: Vec::new(),
        }
    }

    /// Returns the first phase, in plan order, that still has something to do.
    pub fn current_phase(&self) -> Option<String> {
        let phase_position = |phase: &str| self.phases.get(phase).map(|row| row.position);
        let step = self
            .steps
            .values()
            .filter(|step| !step.dropped && !is_complete(step))
            .min_by_key(|step| step.position)
            .map(|step| step.phase.as_str());
        let gate = self
            .gates
            .values()
            .filter(|gate| !gate.dropped && gate.status != GateStatus::Passed)
            .min_by_key(|gate| gate.position)
            .map(|gate| gate.gate.as_str());
        match (step, gate) {
            (Some(step), Some(gate)) => {
                if phase_position(gate) < phase_position(step) {
                    Some(gate.to_owned())
                } else {
                    Some(step.to_owned())
                }
            }
            (one, other) => one.or(other).map(str::to_owned),
        }
    }

    /// Drops the rows that later events cannot change, as in a freshly loaded state.
    pub(super) fn drop_final_rows(&mut self) {
        self.sign_offs
            .retain(|row| row.status != SignOffStatus::Voided);
        self.alerts
            .retain(|row| row.status != AlertStatus::Resolved);
        self.comparisons.retain(|row| row.superseded_by.is_none());
        self.revision
            .take_if(|row| row.status != RevisionStatus::Proposed);
        self.requests.retain(|row| row.status.is_open());
    }
}

/// True if the step no longer holds up its phase.
fn is_complete(step: &StepRow) -> bool {
    match step.status {
        StepRowStatus::Skipped | StepRowStatus::NotApplicable => true,
        StepRowStatus::Finished => match step.verdict {
            Some(Verdict::Pass | Verdict::Warning | Verdict::NotApplicable | Verdict::Skipped) => {
                true
            }
            Some(Verdict::Fail | Verdict::Inconclusive | Verdict::Error) => !step.critical,
            None => false,
        },
        StepRowStatus::Pending
        | StepRowStatus::Running
        | StepRowStatus::Interrupted
        | StepRowStatus::InReview
        | StepRowStatus::Undoing
        | StepRowStatus::Undone
        | StepRowStatus::UndoFailed => false,
    }
}

/// The aggregates whose rows must be loaded before a batch is projected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NeededRows {
    /// Rollout ids.
    pub rollouts: BTreeSet<String>,
    /// Flags by environment and key.
    pub flags: BTreeSet<(String, String)>,
    /// Workers by name.
    pub workers: BTreeSet<String>,
    /// Environments by name.
    pub environments: BTreeSet<String>,
}

impl NeededRows {
    /// Returns the aggregates that a batch touches.
    pub fn of(batch: &[StoredCommit]) -> Self {
        let mut needs = Self::default();
        for stored in batch {
            match Aggregate::of(&stored.commit.aggregate, &stored.commit.aggregate_id) {
                Some(Aggregate::Rollout(rollout)) => {
                    needs.rollouts.insert(rollout.into());
                }
                Some(Aggregate::Flag(environment, key)) => {
                    needs.flags.insert((environment.into(), key.into()));
                }
                Some(Aggregate::Worker(name)) => {
                    needs.workers.insert(name.into());
                }
                Some(Aggregate::Environment(name)) => {
                    needs.environments.insert(name.into());
                }
                None => {}
            }
        }
        needs
    }

    /// Returns those that `state` does not hold.
    #[must_use]
    pub fn missing_in(mut self, state: &State) -> Self {
        self.rollouts
            .retain(|rollout| !state.rollouts.contains_key(rollout));
        self.flags.retain(|flag| !state.flags.contains_key(flag));
        self.workers
            .retain(|worker| !state.workers.contains_key(worker));
        self.environments
            .retain(|name| !state.environments.contains_key(name));
        self
    }
}

impl State {
    /// Returns the number of aggregates.
    pub fn len(&self) -> usize {
        self.rollouts.len() + self.flags.len() + self.workers.len() + self.environments.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops every aggregate that `needs` does not name.
    pub fn keep_only(&mut self, needs: &NeededRows) {
        self.rollouts
            .retain(|rollout, _| needs.rollouts.contains(rollout));
        self.flags.retain(|flag, _| needs.flags.contains(flag));
        self.flag_requests
            .retain(|flag, _| needs.flags.contains(flag));
        self.workers
            .retain(|worker, _| needs.workers.contains(worker));
        self.environments
            .retain(|name, _| needs.environments.contains(name));
    }
}
