//! Rollbacks and undos.

use rollbook_proto::v1::{self, event::Kind};

use super::super::refusal::Refusal;
use super::super::remedy;
use super::super::rules::rollback_preview::{self, RollbackPreview};
use super::super::rules::{effects, progress};
use super::super::settle;
use super::super::state::{Effect, RolloutState, Status, StepStatus};
use super::{Decided, Decider, bounds, optional, required};
use crate::ids::StepId;
use crate::runbook::RollbackLevel;
use crate::runbook::plan::{EffectiveUndo, undo_verified_by};
use crate::runbook::{Plan, Step};

/// Returns what a rollback requested now would do; its start records the same list.
///
/// # Errors
/// The request itself is invalid. An empty list means that there is nothing to undo.
pub fn preview_rollback(
    state: &RolloutState,
    plan: &Plan,
    level: RollbackLevel,
    steps: &[StepId],
) -> Result<RollbackPreview, Refusal> {
    if state.status == Status::Open {
        return Err(Refusal::Status {
            what: "rollback",
            status: state.status.as_str(),
            remedy: "nothing has been done; abort it instead".to_owned(),
            remedies: vec![remedy::abort(&state.id)],
        });
    }
    if level.names_steps() && steps.is_empty() {
        return Err(Refusal::RollbackSteps {
            problem: "a partial rollback undoes named steps; name at least one".to_owned(),
        });
    }
    if !level.names_steps() && !steps.is_empty() {
        return Err(Refusal::RollbackSteps {
            problem: format!(
                "a rollback of level {} chooses its steps itself; name steps only with level partial",
                level.as_str()
            ),
        });
    }
    for id in steps {
        has_something_to_undo(state, plan, id)?;
    }
    Ok(rollback_preview::list(state, plan, level, steps))
}

fn has_something_to_undo(state: &RolloutState, plan: &Plan, id: &StepId) -> Result<(), Refusal> {
    let (Some(at), Some(undo)) = (state.step(id), plan.undo(id)) else {
        return Err(Refusal::no_such_step(state, id.as_str()));
    };
    if effects::has_undoable_effect(state, plan, id)
        || at.status == StepStatus::Running && undo.is_possible()
    {
        return Ok(());
    }
    let why = match (at.effect, undo) {
        (Effect::None, _) => format!("step {id} is {} and left no effect", at.status.as_str()),
        (_, EffectiveUndo::Irreversible) => format!("step {id} is declared irreversible"),
        (_, EffectiveUndo::None) => format!("the plan says that nothing undoes step {id}"),
        _ => format!("step {id} changes nothing"),
    };
    Err(Refusal::NothingToUndo {
        level: RollbackLevel::Partial.as_str(),
        why,
    })
}

impl Decider<'_> {
    pub(super) fn rollback(&self, level: RollbackLevel, steps: &[StepId], reason: &str) -> Decided {
        let reason = required("rollback", "reason", reason)?;
        let list = preview_rollback(self.state, self.plan, level, steps)?;
        // Two people in a hurry may both request the same rollback; it is one rollback.
        if let Some(current) = self.state.current_rollback()
            && current.level == level
            && !level.names_steps()
            && effects::queue(self.state, self.plan)
                .iter()
                .all(|id| self.state.step(id).is_some_and(|step| !step.undo.failed))
        {
            return Ok(Vec::new());
        }
        // A full rollback ends a rollout that is still open even if there is nothing to undo.
        let may_be_empty = level.ends_rollout() && !self.state.status.is_closed();
        if list.undo.is_empty() && list.running.is_empty() && !may_be_empty {
            return Err(Refusal::NothingToUndo {
                level: level.as_str(),
                why: "no step of that level has left an effect that can be undone".to_owned(),
            });
        }
        self.takes_back_as_much(level, &list)?;
        let mut text = reason.to_owned();
        if level.names_steps() {
            text.push_str(&self.standing_dependents(steps));
        }
        Ok(vec![settle::rollback_started(self.state, &text, &list)])
    }

    /// Checks that a rollback which replaces another undoes at least as much, because leaving an
    /// effect in place is a decision of its own. One of level `flags` only interrupts the other,
    /// which then continues.
    fn takes_back_as_much(
        &self,
        level: RollbackLevel,
        list: &RollbackPreview,
    ) -> Result<(), Refusal> {
        let Some(current) = self.state.current_rollback() else {
            return Ok(());
        };
        if level.is_urgent() {
            return Ok(());
        }
        let interrupted = current
            .interrupted
            .iter()
            .flat_map(|other| effects::to_undo(self.state, self.plan, other.level, &other.steps));
        let mut missing: Vec<StepId> = effects::queue(self.state, self.plan)
            .into_iter()
            .chain(effects::running(self.state, self.plan))
            .chain(interrupted)
            .filter(|id| !list.steps().chain(&list.running).any(|listed| listed == id))
            .collect();
        missing.sort();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::RollbackSteps {
            problem: format!(
                "{} (level {}) is under way and undoes more: {}; let it finish, and if an undo fails, leave its effect with `skip`",
                current.id,
                current.level.as_str(),
                progress::list(missing)
            ),
        })
    }

    pub(super) fn undo(&self, id: &StepId, reason: &str) -> Decided {
        let (at, step) = self.step(id)?;
        let reason = required("undo", "reason", reason)?;
        if self.state.status == Status::Open {
            return Err(self.status("undo", "nothing has been done"));
        }
        has_something_to_undo(self.state, self.plan, id)?;
        if at.status == StepStatus::Undoing {
            return Err(Refusal::StepStatus {
                what: "to undo",
                step: id.to_string(),
                status: at.status.as_str(),
                remedy: "wait for its result".to_owned(),
                remedies: Vec::new(),
            });
        }
        if at.status == StepStatus::Running {
            return Err(Refusal::StepStatus {
                what: "to undo",
                step: id.to_string(),
                status: at.status.as_str(),
                remedy: "wait for its result, or start a rollback, which does".to_owned(),
                remedies: vec![remedy::rollback(&self.state.id)],
            });
        }
        if let Some(current) = self.state.current_rollback() {
            let queue = effects::queue(self.state, self.plan);
            if queue.first() != Some(id) {
                let why = match queue.first() {
                    Some(first) => format!("step {first} is next in the order of undoing"),
                    None => "it is not part of the rollback under way".to_owned(),
                };
                return Err(Refusal::UndoOrder {
                    step: id.to_string(),
                    why,
                });
            }
            if self.is_undone_by_hand(id) {
                return Ok(self.undone_by_hand(step, at.undo.attempt.saturating_add(1), reason));
            }
            if !at.undo.failed {
                return Ok(Vec::new());
            }
            // Retrying a failed undo restarts the remainder of the rollback.
            let mut rest =
                rollback_preview::list(self.state, self.plan, current.level, &current.steps);
            rest.undo.retain(|item| queue.contains(&item.step));
            return Ok(vec![settle::rollback_started(self.state, reason, &rest)]);
        }
        let ids = [id.clone()];
        let text = format!("{reason}{}", self.standing_dependents(&ids));
        let list = rollback_preview::list(self.state, self.plan, RollbackLevel::Partial, &ids);
        let mut kinds = vec![settle::rollback_started(self.state, &text, &list)];
        if self.is_undone_by_hand(id) {
            kinds.extend(self.undone_by_hand(step, at.undo.attempt.saturating_add(1), reason));
        }
        Ok(kinds)
    }

    fn is_undone_by_hand(&self, id: &StepId) -> bool {
        matches!(self.plan.undo(id), Some(EffectiveUndo::Manual(_)))
    }

    /// Records that a person did the undo by hand. If the effect can be checked, a worker verifies
    /// it, and only that verification finishes the undo.
    fn undone_by_hand(&self, step: &Step, attempt: u32, reason: &str) -> Vec<Kind> {
        let started = |intent: String| {
            Kind::UndoStarted(v1::UndoStarted {
                step_id: step.id.clone(),
                attempt,
                worker: self.actor().to_owned(),
                intent,
            })
        };
        if undo_verified_by(step).is_some() {
            return vec![started(format!("undone manually: {reason}"))];
        }
        vec![
            started("undone manually".to_owned()),
            Kind::UndoFinished(v1::UndoFinished {
                step_id: step.id.clone(),
                attempt,
                verdict: v1::Verdict::Inconclusive.into(),
                message: reason.to_owned(),
                verification: v1::UndoVerification::NotVerified.into(),
                verification_message: format!("{} says that it has been done", self.actor()),
                ..v1::UndoFinished::default()
            }),
        ]
    }

    fn standing_dependents(&self, ids: &[StepId]) -> String {
        let mut standing: Vec<StepId> = ids
            .iter()
            .flat_map(|id| effects::dependents(self.state, self.plan, id))
            .filter(|dependent| !ids.contains(dependent))
            .collect();
        standing.sort();
        standing.dedup();
        if standing.is_empty() {
            String::new()
        } else {
            format!(
                " (steps that need these and stand: {})",
                progress::list(standing)
            )
        }
    }

    pub(super) fn start_undo(
        &self,
        id: &StepId,
        attempt: u32,
        worker: &str,
        intent: &str,
    ) -> Decided {
        let (at, step) = self.step(id)?;
        let worker = required("start of an undo", "worker", worker)?.to_owned();
        let intent = optional("intent", intent)?.to_owned();
        let refuse = |why: String| Refusal::UndoOrder {
            step: id.to_string(),
            why,
        };
        if self.state.current_rollback().is_none() {
            return Err(refuse("no rollback is under way; drop the task".to_owned()));
        }
        if at.status == StepStatus::Undoing && !may_take_over(step) {
            return Err(Refusal::AlreadyRunning {
                step: id.to_string(),
                attempt: at.undo.attempt,
                by: at.undo.worker.clone(),
            });
        }
        if at.status == StepStatus::Running {
            return Err(refuse(
                "the step itself runs; wait for its result".to_owned(),
            ));
        }
        let other = self
            .state
            .steps
            .iter()
            .find(|(other, at)| *other != id && at.status == StepStatus::Undoing);
        if let Some((other, _)) = other {
            return Err(refuse(format!("step {other} is being undone")));
        }
        if let Some(later) = effects::waits_for(self.state, self.plan, id).first() {
            return Err(refuse(format!("step {later} came later and still runs")));
        }
        match effects::queue(self.state, self.plan).first() {
            Some(first) if first == id => {}
            Some(first) => return Err(refuse(format!("step {first} is next"))),
            None => return Err(refuse("nothing is left to undo; drop the task".to_owned())),
        }
        if self.is_undone_by_hand(id) {
            return Err(refuse("it is undone by a person".to_owned()));
        }
        if at.undo.failed {
            return Err(refuse(format!(
                "its attempt {} failed; a person must ask for another",
                at.undo.attempt
            )));
        }
        let expected = at.undo.attempt.saturating_add(1);
        if attempt != expected {
            return Err(Refusal::WrongAttempt {
                step: format!("{id} (undo)"),
                given: attempt,
                expected,
            });
        }
        Ok(vec![Kind::UndoStarted(v1::UndoStarted {
            step_id: id.to_string(),
            attempt,
            worker,
            intent,
        })])
    }

    pub(super) fn finish_undo(&self, finished: &v1::UndoFinished) -> Decided {
        let id = self.named(&finished.step_id)?;
        let (at, _) = self.step(&id)?;
        if at.status != StepStatus::Undoing || at.undo.attempt != finished.attempt {
            return Err(Refusal::LateResult {
                step: format!("{id} (undo)"),
                attempt: finished.attempt,
                status: at.status.as_str(),
                current: at.undo.attempt,
            });
        }
        bounds::undo(finished)?;
        match v1::Verdict::try_from(finished.verdict) {
            Ok(
                v1::Verdict::Pass
                | v1::Verdict::Fail
                | v1::Verdict::Inconclusive
                | v1::Verdict::Error,
            ) => Ok(vec![Kind::UndoFinished(finished.clone())]),
            _ => Err(Refusal::Record {
                step: id.to_string(),
                problem: "an undo ends with pass, fail, inconclusive or error".to_owned(),
            }),
        }
    }
}

/// True if another worker may restart an undo whose worker is lost, because writing its result
/// twice is the same as writing it once.
fn may_take_over(step: &Step) -> bool {
    step.idempotent || step.action.kind().flag().is_some()
}
