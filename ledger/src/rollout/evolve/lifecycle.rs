//! Events of the rollout as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use rollbook_proto::v1;

use super::super::illegal::IllegalEvent;
use super::super::state::{
    AcceptedRevision, Effect, PendingRevision, PhaseState, RolloutState, Status, StepState,
    StepStatus, UndoState,
};
use super::Meta;
use crate::ids::{EnvironmentId, PhaseId, RolloutId, StepId};

type Done = Result<(), IllegalEvent>;

pub(super) fn opened(
    event: &v1::RolloutOpened,
    meta: &Meta<'_>,
) -> Result<RolloutState, IllegalEvent> {
    let plan = event.plan.clone().ok_or_else(|| meta.malformed("plan"))?;
    let outline = event
        .outline
        .as_ref()
        .ok_or_else(|| meta.malformed("outline"))?;
    let mut state = RolloutState {
        id: RolloutId::new(meta.aggregate_id).map_err(|_| meta.malformed("aggregate_id"))?,
        sequence: 0,
        events: 1,
        name: event.name.clone(),
        runbook: event.runbook.clone(),
        plans: BTreeMap::from([(1, plan.sha256.clone())]),
        plan_digest: plan.sha256.clone(),
        plan,
        revision: 1,
        pending_revision: None,
        accepted_revisions: Vec::new(),
        last_revision: 1,
        environment: EnvironmentId::new(&event.environment)
            .map_err(|_| meta.malformed("environment"))?,
        protected: event.protected,
        params: event.params.clone(),
        status: Status::Open,
        opened_at: meta.at,
        started_at: None,
        closed_at: None,
        phases: IndexMap::new(),
        steps: IndexMap::new(),
        gates: IndexMap::new(),
        metrics: BTreeMap::new(),
        baselines: BTreeMap::new(),
        counters: BTreeMap::new(),
        manifests: BTreeMap::new(),
        effects: Vec::new(),
        rollback: None,
        rollbacks: 0,
        advice: None,
        alerts: BTreeMap::new(),
        alerts_raised: 0,
        notices: BTreeSet::new(),
        success: BTreeMap::new(),
        reviewed: BTreeSet::new(),
        broken_glass: Vec::new(),
        long_texts: Vec::new(),
        requests: Default::default(),
        reviews: Default::default(),
        command_ids: Default::default(),
    };
    apply_outline(&mut state, outline, meta)?;
    Ok(state)
}

/// Creates the phases, steps and gates of an outline; existing ones keep their state.
fn apply_outline(state: &mut RolloutState, outline: &v1::PlanOutline, meta: &Meta<'_>) -> Done {
    let mut phases = IndexMap::new();
    let mut steps = IndexMap::new();
    let mut gates = IndexMap::new();
    for phase in &outline.phases {
        let phase_id = PhaseId::new(&phase.id).map_err(|_| meta.malformed("outline"))?;
        let mut ids = Vec::with_capacity(phase.steps.len());
        for step in &phase.steps {
            let id = StepId::new(&step.id).map_err(|_| meta.malformed("outline"))?;
            let mut laid = match state.steps.shift_remove(&id) {
                Some(known) => Arc::unwrap_or_clone(known),
                None => new_step(&phase_id),
            };
            laid.phase = phase_id.clone();
            laid.title.clone_from(&step.title);
            laid.kind.clone_from(&step.kind);
            laid.critical = step.critical;
            ids.push(id.clone());
            if steps.insert(id, Arc::new(laid)).is_some() {
                return Err(meta.malformed("outline"));
            }
        }
        if phase.gate {
            let gate = state.gates.shift_remove(&phase_id).unwrap_or_default();
            gates.insert(phase_id.clone(), gate);
        }
        let known = state.phases.shift_remove(&phase_id);
        let laid = PhaseState {
            title: phase.title.clone(),
            steps: ids,
            started_at: known.as_ref().and_then(|phase| phase.started_at),
            rollback_point: known.and_then(|phase| phase.rollback_point),
        };
        if phases.insert(phase_id, laid).is_some() {
            return Err(meta.malformed("outline"));
        }
    }
    if let Some((id, _)) = state.steps.iter().find(|(_, step)| step.attempt > 0) {
        return Err(meta.transition(format!("it drops step {id}, which has run")));
    }
    state.phases = phases;
    state.steps = steps;
    state.gates = gates;
    Ok(())
}

fn new_step(phase: &PhaseId) -> StepState {
    StepState {
        phase: phase.clone(),
        title: String::new(),
        kind: String::new(),
        critical: true,
        status: StepStatus::Pending,
        attempt: 0,
        started_at: None,
        finished_at: None,
        finished_event: 0,
        ended_event: 0,
        errored_attempt: 0,
        has_passed: false,
        worker: String::new(),
        losses: 0,
        rule: String::new(),
        message: String::new(),
        effect: Effect::None,
        is_partial: false,
        not_before: None,
        recheck: false,
        samples: Default::default(),
        evidence: Vec::new(),
        executors: BTreeSet::new(),
        proposal: None,
        undo: UndoState::default(),
    }
}

fn from_one_of(state: &RolloutState, allowed: &[Status], meta: &Meta<'_>) -> Done {
    if allowed.contains(&state.status) {
        Ok(())
    } else {
        Err(meta.transition(format!("the rollout is {}", state.status.as_str())))
    }
}

pub(super) fn aborted(state: &mut RolloutState) {
    if let Some(rollback) = &mut state.rollback
        && rollback.verdict.is_none()
    {
        rollback.verdict = Some(v1::Verdict::Inconclusive);
        rollback.finished_event = Some(state.events);
    }
}

pub(super) fn closed(state: &mut RolloutState, event: &v1::RolloutClosed, meta: &Meta<'_>) -> Done {
    if event.outcome() == v1::RolloutOutcome::Unspecified {
        return Err(meta.malformed("outcome"));
    }
    state.closed_at = Some(meta.at);
    state.reviewed.clear();
    Ok(())
}

pub(super) fn plan_revised(
    state: &mut RolloutState,
    event: &v1::PlanRevised,
    meta: &Meta<'_>,
) -> Done {
    from_one_of(
        state,
        &[Status::Open, Status::Running, Status::Paused],
        meta,
    )?;
    let plan = event.plan.clone().ok_or_else(|| meta.malformed("plan"))?;
    let outline = event
        .outline
        .clone()
        .ok_or_else(|| meta.malformed("outline"))?;
    if Some(event.revision) != state.last_revision.checked_add(1) {
        return Err(meta.transition(format!(
            "revision {} does not follow {}",
            event.revision, state.last_revision
        )));
    }
    state.last_revision = event.revision;
    state.plans.insert(event.revision, plan.sha256.clone());
    state.pending_revision = Some(PendingRevision {
        revision: event.revision,
        plan,
        outline,
        by: meta.person().unwrap_or_default().to_owned(),
        reason: event.reason.clone(),
        difference: event.difference.clone(),
        params: event.params.clone(),
    });
    Ok(())
}

pub(super) fn revision_accepted(
    state: &mut RolloutState,
    event: &v1::PlanRevisionAccepted,
    meta: &Meta<'_>,
) -> Done {
    let waits = state.pending_revision.take();
    match waits {
        Some(pending) if pending.revision == event.revision => {
            apply_outline(state, &pending.outline, meta)?;
            state.revision = pending.revision;
            // Older commits do not name the runbook.
            if !pending.outline.runbook.is_empty() {
                state.runbook.clone_from(&pending.outline.runbook);
            }
            if pending.difference.is_some() {
                state.params = pending.params;
            }
            state.accepted_revisions.push(AcceptedRevision {
                revision: pending.revision,
                plan_digest: pending.plan.sha256.clone(),
                by: pending.by,
                accepted_by: meta.person().unwrap_or_default().to_owned(),
                reason: pending.reason,
                difference: pending.difference,
            });
            state.plan_digest.clone_from(&pending.plan.sha256);
            state.plan = pending.plan;
            Ok(())
        }
        _ => Err(meta.transition(format!("revision {} is not waiting", event.revision))),
    }
}

pub(super) fn revision_withdrawn(
    state: &mut RolloutState,
    event: &v1::PlanRevisionWithdrawn,
    meta: &Meta<'_>,
) -> Done {
    match state.pending_revision.take() {
        Some(pending) if pending.revision == event.revision => Ok(()),
        _ => Err(meta.transition(format!("revision {} is not waiting", event.revision))),
    }
}

pub(super) fn notice_sent(
    state: &mut RolloutState,
    event: &v1::NoticeSent,
    meta: &Meta<'_>,
) -> Done {
    if state.notices.insert(event.notice_id.clone()) {
        Ok(())
    } else {
        Err(meta.transition(format!("notice {} was sent already", event.notice_id)))
    }
}
