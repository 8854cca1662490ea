//! Whether a step may start: one answer for `StartStep`, for the tasks that `next` hands out
//! and for what it reports as blocked.

use jiff::Timestamp;

use super::super::how;
use super::super::state::{RolloutState, Status, StepStatus};
use super::{measures, progress, requests};
use crate::environment::Environments;
use crate::ids::StepId;
use crate::runbook::{Plan, Step, window};

/// Why a step may not start.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Hold {
    /// The rule, with its numbers.
    pub(crate) why: String,
    pub(crate) who: Vec<String>,
    pub(crate) how: Option<String>,
    pub(crate) until: Option<Timestamp>,
    /// It waits for something that moves or is reported by itself.
    pub(crate) explained: bool,
}

impl Hold {
    fn because(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            ..Self::default()
        }
    }

    fn explained(why: impl Into<String>) -> Self {
        Self {
            explained: true,
            ..Self::because(why)
        }
    }

    fn time(why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self {
            who: vec!["time".to_owned()],
            until,
            ..Self::because(why)
        }
    }
}

/// The attempt that may start now. The step must be pending.
pub(crate) fn check(
    state: &RolloutState,
    plan: &Plan,
    id: &StepId,
    now: Timestamp,
) -> Result<u32, Hold> {
    check_order(state, plan, id)?;
    let (Some(at), Some((_, step))) = (state.step(id), plan.step(id)) else {
        return Err(Hold::because("it is not in the plan"));
    };
    if let Some(text) = &step.when {
        match measures::when(state, text) {
            Ok(true) => {}
            Ok(false) => {
                return Err(Hold::explained(format!("its `when: {text}` is false")));
            }
            Err(why) => {
                let skip = requests::verb_of_skip(at);
                let place = requests::place(state, plan, Environments::NONE);
                let takes = place.rule(skip).text();
                return Err(Hold {
                    who: place.who(skip),
                    how: Some(how::skip_or_revise(&state.id, id)),
                    ..Hold::because(format!("{why}; leaving the step out takes {takes}"))
                });
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
        return Err(Hold::explained(
            "the rollback point of its phase is not recorded yet",
        ));
    }
    if let Some(not_before) = at.not_before
        && not_before > now
    {
        return Err(Hold::time(
            format!(
                "attempt {} waits after a failure until {not_before}: {}",
                at.attempt.saturating_add(1),
                at.message
            ),
            Some(not_before),
        ));
    }
    let verdict = window_of(state, plan, step, now);
    if !verdict.open {
        return Err(Hold::time(verdict.reason, verdict.next));
    }
    Ok(at.attempt.saturating_add(1))
}

/// The window's answer for the step.
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

/// Everything but parameters, time and windows: what comes before the step has been done and
/// nobody has stopped the rollout.
pub(crate) fn check_order(state: &RolloutState, plan: &Plan, id: &StepId) -> Result<(), Hold> {
    let Some(at) = state.step(id) else {
        return Err(Hold::because("it is not in the plan"));
    };
    if at.status != StepStatus::Pending {
        return Err(Hold::because(format!("it is {}", at.status.as_str())));
    }
    if !at.recheck {
        if state.status != Status::Running {
            return Err(Hold::explained(format!(
                "the rollout is {}",
                state.status.as_str()
            )));
        }
        if let Some(pending) = &state.pending_revision {
            return Err(Hold::explained(format!(
                "revision {} of the plan waits to be accepted",
                pending.revision
            )));
        }
    }
    if let Some(proposal) = &at.proposal {
        return Err(Hold {
            who: vec![format!("anyone but {}", proposal.by)],
            how: Some(how::accept_not_applicable(&state.id, id)),
            ..Hold::because(format!(
                "{} says that it is not applicable ({}), which another person must review",
                proposal.by, proposal.reason
            ))
        });
    }
    let Some(needs) = plan.needs(id) else {
        return Err(Hold::because("it is not in the plan"));
    };
    if at.recheck {
        // The order of the plan is void while effects are taken back; among rechecks it holds.
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
            return Err(Hold::explained(format!(
                "it waits for the recheck of {}",
                progress::list(waits)
            )));
        }
        return Ok(());
    }
    // The steps first: that is soon said, while a phase is a walk over its steps.
    let steps: Vec<&StepId> = needs
        .steps
        .iter()
        .filter(|need| !progress::is_done(state, plan, need))
        .collect();
    if !steps.is_empty() {
        return Err(Hold::explained(format!(
            "it needs {}, not done yet",
            progress::list(steps.iter().map(|need| {
                let status = state.step(need).map_or("unknown", |at| at.status.as_str());
                format!("step {need} ({status})")
            }))
        )));
    }
    let phases = progress::missing_phases(state, plan, &at.phase);
    if !phases.is_empty() {
        return Err(Hold::explained(format!(
            "it needs phase {}, which has not passed",
            progress::list(phases)
        )));
    }
    Ok(())
}
