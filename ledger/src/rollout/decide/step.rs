//! People's decisions on steps: skip, retry, not applicable.

use rollbook_proto::v1::{self, event::Kind};

use super::super::refusal::Refusal;
use super::super::remedy;
use super::super::rules::{effects, people, reruns};
use super::super::settle;
use super::super::state::{Status, StepState, StepStatus};
use super::{Decided, Decider, optional, required};
use crate::ids::StepId;
use crate::runbook::Step;
use crate::runbook::kind::DoneBy;
use crate::runbook::plan::has_effect;

impl Decider<'_> {
    fn step_status(
        &self,
        what: &'static str,
        id: &StepId,
        at: &StepState,
        remedy: impl Into<String>,
    ) -> Refusal {
        Refusal::StepStatus {
            what,
            step: id.to_string(),
            status: at.status.as_str(),
            remedy: remedy.into(),
            remedies: Vec::new(),
        }
    }

    pub(super) fn skip(&self, id: &StepId, reason: &str) -> Decided {
        let (at, _) = self.step(id)?;
        let reason = required("skip", "reason", reason)?.to_owned();
        let skipped = vec![Kind::StepSkipped(v1::StepSkipped {
            step_id: id.to_string(),
            reason,
        })];
        match (self.state.status, at.status) {
            (Status::RollingBack, StepStatus::UndoFailed) => return Ok(skipped),
            (Status::RollingBack, _) => {
                return Err(self.status(
                    "skip",
                    "during a rollback only a step whose undo failed can be left as it is",
                ));
            }
            (Status::Aborted | Status::Closed(_), _) => {
                return Err(self.status("skip", "it has ended"));
            }
            (Status::Open | Status::Running | Status::Paused, _) => {}
        }
        match at.status {
            StepStatus::Pending
            | StepStatus::Failed
            | StepStatus::Inconclusive
            | StepStatus::Errored
            | StepStatus::Interrupted
            | StepStatus::Undone
            | StepStatus::UndoFailed => Ok(skipped),
            StepStatus::Running | StepStatus::Undoing => {
                Err(self.step_status("to skip", id, at, "wait for its result"))
            }
            StepStatus::Succeeded | StepStatus::NotApplicable | StepStatus::Skipped => {
                Err(self.step_status("to skip", id, at, "there is nothing left to skip"))
            }
        }
    }

    pub(super) fn retry(&self, id: &StepId, reason: &str) -> Decided {
        let (at, step) = self.step(id)?;
        let reason = required("retry", "reason", reason)?.to_owned();
        let recheck = self.is_recheck(step)?;
        match at.status {
            StepStatus::Failed
            | StepStatus::Inconclusive
            | StepStatus::Errored
            | StepStatus::Interrupted
            | StepStatus::Skipped
            | StepStatus::NotApplicable
            | StepStatus::Undone => {}
            StepStatus::Succeeded if recheck => {}
            StepStatus::Succeeded
                if reruns::moves_a_gate(self.state, self.plan, id, step, self.ctx.now) => {}
            StepStatus::Succeeded => {
                let remedy = if has_effect(step) {
                    "its effect stands; undo it before it runs again"
                } else {
                    "its result stands; it can run again while the gate of its phase is refused or a gate's check on what it measured does not hold, and as a check after a rollback"
                };
                let remedies = if has_effect(step) {
                    vec![remedy::undo(&self.state.id, id)]
                } else {
                    Vec::new()
                };
                return Err(self.step_status("to retry", id, at, remedy).by(remedies));
            }
            StepStatus::Pending if recheck && !at.recheck => {}
            StepStatus::Pending => {
                return Err(self.step_status("to retry", id, at, "it has yet to run"));
            }
            StepStatus::Running | StepStatus::Undoing => {
                return Err(self.step_status("to retry", id, at, "wait for its result"));
            }
            StepStatus::UndoFailed => {
                let (rollout, remedy) = (
                    &self.state.id,
                    "its effect may stand; undo it again, or skip it with a reason",
                );
                return Err(self
                    .step_status("to retry", id, at, remedy)
                    .by(vec![remedy::undo(rollout, id), remedy::skip(rollout, id)]));
            }
        }
        let mut kinds = settle::void_phase(self.state, &at.phase, "step_retried");
        kinds.push(Kind::StepRetried(v1::StepRetried {
            step_id: id.to_string(),
            reason,
            not_before: None,
            recheck,
        }));
        Ok(kinds)
    }

    /// Returns whether a retry now would be a check of a rollback; refuses if neither that nor an
    /// ordinary retry is possible.
    fn is_recheck(&self, step: &Step) -> Result<bool, Refusal> {
        let proves_rollback = self.state.rollback.is_some() && effects::is_check(step);
        match self.state.status {
            Status::Open | Status::Running => Ok(false),
            Status::Paused => Ok(proves_rollback),
            Status::RollingBack | Status::Aborted | Status::Closed(_) if proves_rollback => {
                Ok(true)
            }
            Status::RollingBack => Err(self.status(
                "retry",
                "until the rollback has finished only steps that change nothing can run again",
            )),
            Status::Aborted | Status::Closed(_) => Err(self.status(
                "retry",
                "after a rollback steps that change nothing can run again; for all else open a new rollout",
            )),
        }
    }

    pub(super) fn propose(&self, id: &StepId, reason: &str) -> Decided {
        let (at, step) = self.step(id)?;
        let reason = required("not applicable", "reason", reason)?.to_owned();
        if !matches!(
            self.state.status,
            Status::Open | Status::Running | Status::Paused
        ) {
            return Err(self.status("not applicable", "no further step runs"));
        }
        if let DoneBy::Person(manual) = step.action.kind().done_by()
            && !manual.accept_not_applicable
        {
            return Err(Refusal::NotApplicableRefused {
                what: "the whole".to_owned(),
                step: id.to_string(),
            });
        }
        if let Some(proposal) = &at.proposal {
            return Err(self
                .step_status(
                    "to propose \"not applicable\" for",
                    id,
                    at,
                    format!(
                        "{} has proposed it already; another person must review that",
                        proposal.by
                    ),
                )
                .by(vec![remedy::accept_not_applicable(&self.state.id, id)]));
        }
        if at.status != StepStatus::Pending && !at.status.is_failure() {
            return Err(self.step_status(
                "to propose \"not applicable\" for",
                id,
                at,
                "only steps that have yet to run, or failed, can be",
            ));
        }
        Ok(vec![Kind::NotApplicableProposed(
            v1::NotApplicableProposed {
                step_id: id.to_string(),
                reason,
            },
        )])
    }

    pub(super) fn review(&self, id: &StepId, accepted: bool, reason: &str) -> Decided {
        let (at, _) = self.step(id)?;
        let reason = if accepted {
            optional("reason", reason.trim())?
        } else {
            required("review", "reason", reason)?
        };
        let Some(proposal) = &at.proposal else {
            return Err(Refusal::NoProposal {
                step: id.to_string(),
            });
        };
        if proposal.by == self.actor() {
            return Err(Refusal::OwnWork {
                person: self.actor().to_owned(),
                did: format!("proposed that step {id} is not applicable"),
                what: "review that",
            });
        }
        self.in_any_role("review what is not applicable")?;
        Ok(vec![Kind::NotApplicableReviewed(
            v1::NotApplicableReviewed {
                step_id: id.to_string(),
                accepted,
                reason: reason.to_owned(),
            },
        )])
    }

    /// Checks that the actor has at least one role, if the plan declares any.
    pub(super) fn in_any_role(&self, what: &str) -> Result<(), Refusal> {
        let roles = &self.plan.runbook().roles;
        if roles.is_empty() || self.plan.roles_of(self.actor()).next().is_some() {
            return Ok(());
        }
        let roles: Vec<String> = roles
            .keys()
            .map(|role| people::role_text(self.plan, role))
            .collect();
        Err(Refusal::NotInRole {
            person: self.actor().to_owned(),
            what: what.to_owned(),
            roles: roles.join("; "),
            remedies: Vec::new(),
        })
    }
}
