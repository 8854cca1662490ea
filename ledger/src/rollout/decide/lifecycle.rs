//! The rollout as a whole: open, start, pause, resume, abort, revise.

use rollbook_proto::v1::{self, event::Kind};

use super::super::command::Open;
use super::super::how;
use super::super::refusal::Refusal;
use super::super::settle;
use super::super::state::{RolloutState, Status};
use super::{Decided, Decider, event, optional, required};
use crate::runbook::Plan;

/// Opens a rollout of a plan: pins the plan, its digest, the parameters and the environment.
pub fn open(plan: &Plan, open: &Open) -> Result<Vec<v1::Event>, Refusal> {
    let refuse = |problem: String| Refusal::Open { problem };
    if open.plan.sha256 != plan.digest() {
        return Err(Refusal::PlanDigest {
            given: open.plan.sha256.clone(),
            in_force: plan.digest().to_owned(),
        });
    }
    let Some(environment) = plan.environment(open.environment.as_str()) else {
        let known: Vec<&str> = plan
            .runbook()
            .environments
            .keys()
            .map(String::as_str)
            .collect();
        return Err(refuse(format!(
            "environment `{}` is not declared; declared: {}",
            open.environment,
            known.join(", ")
        )));
    };
    for (name, value) in &open.params {
        if plan.params().get(name) != Some(value) {
            return Err(refuse(format!(
                "parameter `{name}` differs from the pinned plan; pin the plan with the parameters it shall run with"
            )));
        }
    }
    optional("name", &open.name)?;
    let metadata = &plan.runbook().metadata;
    let name = if open.name.trim().is_empty() {
        format!("{} in {}", metadata.name, open.environment)
    } else {
        open.name.trim().to_owned()
    };
    Ok(vec![event(Kind::RolloutOpened(v1::RolloutOpened {
        name,
        runbook: metadata.name.clone(),
        runbook_version: metadata.version.clone(),
        plan: Some(open.plan.clone()),
        outline: Some(plan.outline()),
        environment: open.environment.to_string(),
        protected: environment.protected,
        params: plan.params().clone(),
    }))])
}

impl Decider<'_> {
    pub(super) fn start(&self) -> Decided {
        match self.state.status {
            Status::Open => {
                self.no_revision_waits("start")?;
                Ok(vec![Kind::RolloutStarted(v1::RolloutStarted {})])
            }
            Status::Running => Ok(Vec::new()),
            Status::Paused => Err(self.status(
                "start",
                format!("resume it with `{}`", how::resume(&self.state.id)),
            )),
            _ => Err(self.status("start", "open a new rollout")),
        }
    }

    pub(super) fn pause(&self, reason: &str) -> Decided {
        let reason = required("pause", "reason", reason)?.to_owned();
        match self.state.status {
            Status::Running => Ok(vec![Kind::RolloutPaused(v1::RolloutPaused { reason })]),
            Status::Paused => Ok(Vec::new()),
            Status::Open => Err(self.status("pause", "nothing runs before its start")),
            Status::RollingBack => Err(self.status(
                "pause",
                "a rollback is not paused; no step of the plan starts while it runs",
            )),
            _ => Err(self.status("pause", "it has ended")),
        }
    }

    pub(super) fn resume(&self, reason: &str) -> Decided {
        let reason = optional("reason", reason.trim())?.to_owned();
        match self.state.status {
            Status::Paused if settle::closes_after_rollback(self.state) => {
                Err(self.status("resume", "its rollback ends it; open a new rollout"))
            }
            Status::Paused => Ok(vec![Kind::RolloutResumed(v1::RolloutResumed { reason })]),
            Status::Running => Ok(Vec::new()),
            Status::Open => Err(self.status(
                "resume",
                format!("start it with `{}`", how::start(&self.state.id)),
            )),
            Status::RollingBack => {
                Err(self.status("resume", "wait until the rollback has finished"))
            }
            _ => Err(self.status("resume", "it has ended; open a new rollout")),
        }
    }

    pub(super) fn abort(&self, reason: &str) -> Decided {
        let reason = required("abort", "reason", reason)?.to_owned();
        match self.state.status {
            Status::Aborted => Ok(Vec::new()),
            Status::Closed(_) => Err(self.status(
                "abort",
                format!(
                    "it has ended; to take its effects back use `{}`",
                    how::rollback(&self.state.id)
                ),
            )),
            _ => Ok(vec![Kind::RolloutAborted(v1::RolloutAborted { reason })]),
        }
    }

    pub(super) fn revise(&self, evidence: &v1::Evidence, reason: &str) -> Decided {
        let reason = required("revise", "reason", reason)?.to_owned();
        if !matches!(
            self.state.status,
            Status::Open | Status::Running | Status::Paused
        ) {
            return Err(self.status("revise", "open a new rollout with the changed plan"));
        }
        self.no_revision_waits("revise")?;
        let refuse = |problem: String| Refusal::Revision { problem };
        let Some(new) = self.ctx.new_plan else {
            return Err(refuse("the changed plan was not given".to_owned()));
        };
        if new.digest() != evidence.sha256 {
            return Err(refuse(format!(
                "its evidence has digest {}, the plan {}",
                evidence.sha256,
                new.digest()
            )));
        }
        if new.digest() == self.state.plan_digest {
            return Ok(Vec::new());
        }
        if new.environment(self.state.environment.as_str()).is_none() {
            return Err(refuse(format!(
                "it does not declare environment `{}`, in which the rollout runs",
                self.state.environment
            )));
        }
        let dropped: Vec<String> = self
            .state
            .steps
            .iter()
            .filter(|(id, at)| at.attempt > 0 && new.step(id).is_none())
            .map(|(id, _)| id.to_string())
            .collect();
        if !dropped.is_empty() {
            return Err(refuse(format!(
                "it drops {}, which have run; keep their ids",
                dropped.join(", ")
            )));
        }
        let mut kinds = void_all(self.state, "plan_revised");
        kinds.push(Kind::PlanRevised(v1::PlanRevised {
            revision: self.state.last_revision.saturating_add(1),
            plan: Some(evidence.clone()),
            outline: Some(new.outline()),
            reason,
        }));
        Ok(kinds)
    }

    pub(super) fn accept_revision(&self, revision: u32) -> Decided {
        let Some(pending) = &self.state.pending_revision else {
            if self.state.revision == revision {
                return Ok(Vec::new());
            }
            return Err(Refusal::RevisionStale {
                given: revision,
                waits: "no revision does".to_owned(),
            });
        };
        if pending.revision != revision {
            return Err(Refusal::RevisionStale {
                given: revision,
                waits: format!("revision {} does", pending.revision),
            });
        }
        if self.state.protected && pending.by == self.actor() {
            return Err(Refusal::OwnWork {
                person: self.actor().to_owned(),
                did: format!("brought revision {revision}"),
                what: "accept it in a protected environment",
            });
        }
        Ok(vec![Kind::PlanRevisionAccepted(v1::PlanRevisionAccepted {
            revision,
        })])
    }

    pub(super) fn no_revision_waits(&self, what: &'static str) -> Result<(), Refusal> {
        no_revision_waits(self.state, what)
    }
}

/// No changed plan waits to be accepted.
pub(super) fn no_revision_waits(state: &RolloutState, what: &'static str) -> Result<(), Refusal> {
    match &state.pending_revision {
        Some(pending) => Err(Refusal::RevisionWaits {
            what,
            revision: pending.revision,
        }),
        None => Ok(()),
    }
}

/// Voids the sign-offs of all gates that have not passed.
fn void_all(state: &RolloutState, cause: &str) -> Vec<Kind> {
    state
        .gates
        .iter()
        .filter(|(_, gate)| gate.passed_at.is_none())
        .flat_map(|(id, gate)| {
            gate.sign_offs
                .iter()
                .map(move |sign_off| settle::void(id, sign_off, cause))
        })
        .collect()
}
