//! Whether a step may start: one answer for `StartStep`, for the tasks that `next` returns and for
//! what it reports as blocked.

use jiff::Timestamp;

use super::super::block::{BlockReason, BlockRule};
use super::super::remedy;
use super::super::state::{Proposal, RolloutState, Status, StepStatus};
use super::{measures, progress, requests};
use crate::clock;
use crate::environment::Environments;
use crate::ids::StepId;
use crate::runbook::{Plan, Step, window};

/// Returns the attempt that may start now; the step must be pending.
pub(crate) fn check(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    now: Timestamp,
) -> Result<u32, BlockReason> {
    check_order(state, plan, id)?;
    let (Some(at), Some((_, step))) = (state.step(id), plan.step(id)) else {
        return Err(BlockReason::because(
            BlockRule::NotInPlan,
            "it is not in the plan",
        ));
    };
    if let Some(text) = &step.when {
        match measures::when(state, text) {
            Ok(true) => {}
            Ok(false) => {
                return Err(BlockReason::explained(
                    BlockRule::WhenFalse,
                    format!("its `when: {text}` is false"),
                ));
            }
            Err(why) => {
                let skip = requests::verb_of_skip(at);
                let permissions = requests::permissions(state, plan, Environments::NONE);
                let takes = permissions.rule(skip).text();
                return Err(BlockReason::person(
                    BlockRule::WhenUndecided,
                    format!("{why}; leaving the step out takes {takes}"),
                    permissions.who_may(skip),
                    vec![remedy::skip(&state.id, id), remedy::revise(&state.id)],
                )
                .figure("when", text)
                .figure("problem", why));
            }
        }
    }
    if state.protected
        && !at.recheck
        && state
            .phases
            .get(&at.phase)
            .is_some_and(|phase| phase.rollback_point.is_none())
    {
        return Err(BlockReason::explained(
            BlockRule::RollbackPointMissing,
            "the rollback point of its phase is not recorded yet",
        ));
    }
    if let Some(not_before) = at.not_before
        && not_before > now
    {
        return Err(BlockReason::time(
            BlockRule::RetryDelay,
            format!(
                "attempt {} waits after a failure until {}: {}",
                at.attempt.saturating_add(1),
                clock::shown(not_before),
                at.message
            ),
            Some(not_before),
        )
        .figure("attempt", at.attempt.saturating_add(1))
        .figure("message", &at.message));
    }
    let verdict = window_of(state, plan, step, now);
    if !verdict.open {
        return Err(BlockReason::time(
            BlockRule::Window,
            verdict.reason,
            verdict.next,
        ));
    }
    Ok(at.attempt.saturating_add(1))
}

/// Evaluates the windows for the step.
pub(crate) fn window_of(
    state: &RolloutState,
    plan: &Plan,
    step: &Step,
    now: Timestamp,
) -> window::WindowVerdict {
    window::evaluate(
        &plan.runbook().windows,
        now,
        plan.environment_of(step, &state.environment),
        step.window.as_deref(),
    )
}

/// Checks everything except parameters, time and windows: what comes before the step is done, and
/// nobody has stopped the rollout.
pub(crate) fn check_order(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
) -> Result<(), BlockReason> {
    let Some(at) = state.step(id) else {
        return Err(BlockReason::because(
            BlockRule::NotInPlan,
            "it is not in the plan",
        ));
    };
    if at.status != StepStatus::Pending {
        return Err(BlockReason::because(
            BlockRule::NotPending,
            format!("it is {}", at.status.as_str()),
        )
        .figure("status", at.status.as_str()));
    }
    if !at.recheck {
        if state.status != Status::Running {
            return Err(BlockReason::explained(
                BlockRule::NotRunning,
                format!("the rollout is {}", state.status.as_str()),
            )
            .figure("status", state.status.as_str()));
        }
        if let Some(pending) = &state.pending_revision {
            return Err(BlockReason::explained(
                BlockRule::RevisionWaits,
                format!(
                    "revision {} of the plan waits to be accepted",
                    pending.revision
                ),
            )
            .figure("revision", pending.revision));
        }
    }
    if let Some(proposal) = &at.proposal {
        return Err(not_applicable(state, id, proposal));
    }
    let Some(needs) = plan.needs(id) else {
        return Err(BlockReason::because(
            BlockRule::NotInPlan,
            "it is not in the plan",
        ));
    };
    if at.recheck {
        // During a rollback the plan's order does not apply, except among rechecks.
        let waits: Vec<&StepId> = needs
            .steps
            .iter()
            .filter(|need| {
                state.step(need).is_some_and(|need| {
                    need.recheck && matches!(need.status, StepStatus::Pending | StepStatus::Running)
                })
            })
            .collect();
        if !waits.is_empty() {
            return Err(BlockReason::explained(
                BlockRule::RecheckNeeded,
                format!("it waits for the recheck of {}", progress::list(waits)),
            ));
        }
        return Ok(());
    }
    // Check steps first: that is cheap, while checking a phase walks its steps.
    let steps: Vec<&StepId> = needs
        .steps
        .iter()
        .filter(|need| !progress::is_done(state, plan, need))
        .collect();
    if !steps.is_empty() {
        let named = progress::list(steps.iter().map(|need| {
            let status = state.step(need).map_or("unknown", |at| at.status.as_str());
            format!("step {need} ({status})")
        }));
        return Err(BlockReason::explained(
            BlockRule::StepNeeded,
            format!("it needs {named}, not done yet"),
        )
        .figure("steps", named));
    }
    let phases = progress::missing_phases(state, plan, &at.phase);
    if !phases.is_empty() {
        let named = progress::list(phases);
        return Err(BlockReason::explained(
            BlockRule::PhaseNeeded,
            format!("it needs phase {named}, which has not passed"),
        )
        .figure("phases", named));
    }
    Ok(())
}

/// Builds the hold of a step with a pending "not applicable" proposal.
pub(crate) fn not_applicable(
    state: &RolloutState,
    id: &StepId,
    proposal: &Proposal,
) -> BlockReason {
    BlockReason::person(
        BlockRule::NotApplicableProposed,
        format!(
            "{} says that it is not applicable ({}), which another person must review",
            proposal.by, proposal.reason
        ),
        vec![format!("anyone but {}", proposal.by)],
        vec![remedy::accept_not_applicable(&state.id, id)],
    )
    .figure("by", &proposal.by)
    .figure("reason", &proposal.reason)
}
