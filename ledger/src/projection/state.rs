//! What the projection must know of the past to project the next commit: the rows that later
//! events may change. Nothing else is kept, so the state is always the rows of a store, loaded
//! when they are needed; after a restart it starts empty.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::rows::{
    AlertRow, AuditRow, ComparisonRow, EnvironmentRow, FlagRow, GateRow, HealthRow, PhaseRow,
    RequestRow, RevisionRow, RollbackRow, RolloutRow, SignOffRow, StepRow, SuccessMetricRow,
    WorkerRow,
};
use super::words::Verdict;
use super::words::{AlertStatus, GateStatus, Health, RevisionStatus, SignOffStatus, StepStatus};
use crate::ids::Aggregate;
use crate::journal::StoredCommit;

/// The rows of the aggregates in hand.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) rollouts: HashMap<String, RolloutState>,
    pub(super) flags: HashMap<(String, String), FlagRow>,
    pub(super) flag_requests: HashMap<(String, String), Vec<RequestRow>>,
    pub(super) workers: HashMap<String, WorkerRow>,
    pub(super) environments: HashMap<String, EnvironmentRow>,
}

/// The rows of one rollout that later events may change or that its health depends on.
#[derive(Debug, Clone)]
pub struct RolloutState {
    /// The rollout.
    pub rollout: RolloutRow,
    /// Its health.
    pub health: HealthRow,
    /// Its phases by id, dropped ones included.
    pub phases: BTreeMap<String, PhaseRow>,
    /// Its steps by id, dropped ones included.
    pub steps: BTreeMap<String, StepRow>,
    /// Its gates by id, dropped ones included.
    pub gates: BTreeMap<String, GateRow>,
    /// Sign-offs and refusals that are not voided, in order.
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
    /// The changed plan that waits to be accepted.
    pub revision: Option<RevisionRow>,
    /// Requests that wait and reviews that are open, in order.
    pub requests: Vec<RequestRow>,
}

impl RolloutState {
    /// The state of a rollout of which only its own row is known.
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

    /// The first phase in the order of the plan that still has something to do.
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

    /// Keeps only what later events may change: the form a loaded state has too.
    pub(super) fn settle(&mut self) {
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

/// Whether nothing more has to happen to a step for its phase to go on.
fn is_complete(step: &StepRow) -> bool {
    match step.status {
        StepStatus::Skipped | StepStatus::NotApplicable => true,
        StepStatus::Finished => match step.verdict {
            Some(Verdict::Pass | Verdict::Warning | Verdict::NotApplicable | Verdict::Skipped) => {
                true
            }
            Some(Verdict::Fail | Verdict::Inconclusive | Verdict::Error) => !step.critical,
            None => false,
        },
        StepStatus::Pending
        | StepStatus::Running
        | StepStatus::Interrupted
        | StepStatus::InReview
        | StepStatus::Undoing
        | StepStatus::Undone
        | StepStatus::UndoFailed => false,
    }
}

/// The aggregates whose rows must be in the state before a batch is projected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rollout ids.
    pub rollouts: BTreeSet<String>,
    /// Flags by environment and key.
    pub flags: BTreeSet<(String, String)>,
    /// Workers by name.
    pub workers: BTreeSet<String>,
    /// Environments by name.
    pub environments: BTreeSet<String>,
}

impl Needs {
    /// What a batch needs.
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

    /// What of it `state` does not hold.
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
    /// How many aggregates it holds.
    pub fn len(&self) -> usize {
        self.rollouts.len() + self.flags.len() + self.workers.len() + self.environments.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops every aggregate that `needs` does not name.
    pub fn keep_only(&mut self, needs: &Needs) {
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
