//! Commands on the rollout as a whole: open, start, pause, resume, abort, revise.

use std::collections::BTreeMap;

use rollbook_proto::v1::{self, event::Kind};

use super::super::command::Open;
use super::super::refusal::Refusal;
use super::super::remedy;
use super::super::settle;
use super::super::state::{RolloutState, Status, StepStatus};
use super::{Decided, Decider, event, optional, required, roles_remedy};
use crate::authority::{Permissions, is_protected, roles_text};
use crate::environment::{Environments, Terms};
use crate::ids::EnvironmentId;
use crate::runbook::{Plan, Verb, difference};
use crate::suggestion::{did_you_mean, leading};

/// Opens a rollout: pins the plan by digest, the parameters and the environment. `environments`
/// holds the ledger's records of those in which the plan acts. In a protected one the actor needs a
/// role in both its record and the plan.
pub fn open(
    plan: &Plan,
    open: &Open,
    actor: &v1::Actor,
    environments: &Environments,
) -> Result<Vec<v1::Event>, Refusal> {
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
        let meant = did_you_mean(open.environment.as_str(), known.clone());
        return Err(refuse(format!(
            "environment `{}` is not declared; {}declared: {}",
            open.environment,
            leading(&meant),
            known.join(", ")
        )));
    };
    for (name, value) in &open.params {
        if plan.params().get(name) != Some(value) {
            return Err(refuse(format!(
                "parameter `{name}` differs from the pinned plan; pin the plan with the parameters to run with"
            )));
        }
    }
    optional("name", &open.name)?;
    may_open(plan, open, actor, environments)?;
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
        protected: environment.protected
            || is_protected(plan, &open.environment, false, environments),
        params: plan.params().clone(),
    }))])
}

fn may_open(
    plan: &Plan,
    open: &Open,
    actor: &v1::Actor,
    environments: &Environments,
) -> Result<(), Refusal> {
    let person = actor.name.as_str();
    for name in plan.environments_of(&open.environment) {
        if let Some(entered) = environments.get(name)
            && entered.terms.protected
            && !entered.has_person(person)
        {
            return Err(Refusal::NotInRole {
                person: person.to_owned(),
                what: format!("open a rollout that acts in {name}"),
                roles: roles_text(entered.terms.roles.iter()),
                remedies: roles_remedy(entered.terms.roles.is_empty(), name),
            });
        }
    }
    let permissions = Permissions::of_rollout(plan, &open.environment, false, environments);
    permissions
        .grant(Verb::Open, person)
        .map(|_| ())
        .map_err(|denied| Refusal::NotInRole {
            person: person.to_owned(),
            what: format!("open a rollout of this runbook in {}", open.environment),
            roles: denied.roles,
            remedies: roles_remedy(denied.lacks_roles, open.environment.as_str()),
        })
}

/// Returns the environments that opening a rollout records, with their terms: those in which the
/// plan acts, which it declares protected, and of which the ledger has no record. Each gets the
/// plan's roles and its rule on breaking glass.
pub fn records(
    plan: &Plan,
    open: &Open,
    environments: &Environments,
) -> Vec<(EnvironmentId, Terms)> {
    plan.environments_of(&open.environment)
        .into_iter()
        .filter(|name| {
            environments.get(name).is_none()
                && plan
                    .environment(name)
                    .is_some_and(|declared| declared.protected)
        })
        .filter_map(|name| EnvironmentId::new(name).ok())
        .map(|name| {
            let terms = Terms {
                protected: true,
                roles: plan.roles().clone(),
                break_glass: plan
                    .runbook()
                    .authority
                    .as_ref()
                    .and_then(|authority| authority.break_glass.clone()),
            };
            (name, terms)
        })
        .collect()
}

impl Decider<'_> {
    pub(super) fn start(&self) -> Decided {
        match self.state.status {
            Status::Open => {
                self.no_revision_waits("start")?;
                Ok(vec![Kind::RolloutStarted(v1::RolloutStarted {})])
            }
            Status::Running => Ok(Vec::new()),
            Status::Paused => {
                Err(self.status_with("start", "resume it", remedy::resume(&self.state.id)))
            }
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
            Status::Open => {
                Err(self.status_with("resume", "start it", remedy::start(&self.state.id)))
            }
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
            Status::Closed(_) => Err(self.status_with(
                "abort",
                "it has ended; a rollback undoes its effects",
                remedy::rollback(&self.state.id),
            )),
            _ => Ok(vec![Kind::RolloutAborted(v1::RolloutAborted { reason })]),
        }
    }

    pub(super) fn revise(
        &self,
        evidence: &v1::Evidence,
        params: &BTreeMap<String, String>,
        reason: &str,
    ) -> Decided {
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
        self.may_enter(new, "propose")?;
        parameters_carried(self.plan, new, params).map_err(refuse)?;
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
        let rewritten: Vec<String> = self
            .state
            .steps
            .iter()
            .filter(|(_, at)| {
                matches!(
                    at.status,
                    StepStatus::Running | StepStatus::Succeeded | StepStatus::Undoing
                )
            })
            .filter(|(id, _)| match (self.plan.step(id), new.step(id)) {
                (Some((_, was)), Some((_, is))) => !was.does_the_same(is),
                _ => false,
            })
            .map(|(id, _)| id.to_string())
            .collect();
        if !rewritten.is_empty() {
            return Err(refuse(format!(
                "it changes what {} did, and the result on record is that of the plan before: keep title, action, environment, verify, expect and evidence of steps that have passed or run, and add a step for anything else",
                rewritten.join(", ")
            )));
        }
        let mut kinds = void_all(self.state, "plan_revised");
        kinds.push(Kind::PlanRevised(v1::PlanRevised {
            revision: self.state.last_revision.saturating_add(1),
            plan: Some(evidence.clone()),
            outline: Some(new.outline()),
            reason,
            difference: Some(difference::between(self.plan, new).bounded()),
            params: new.params().clone(),
        }));
        Ok(kinds)
    }

    pub(super) fn accept_revision(&self, revision: u32, seen: Option<&str>) -> Decided {
        let Some(pending) = &self.state.pending_revision else {
            if self.state.revision == revision {
                return Ok(Vec::new());
            }
            return Err(Refusal::RevisionStale {
                given: revision,
                waits: "no revision is".to_owned(),
            });
        };
        if pending.revision != revision {
            return Err(Refusal::RevisionStale {
                given: revision,
                waits: format!("revision {} is", pending.revision),
            });
        }
        if let (Some(given), Some(difference)) = (seen, &pending.difference)
            && given != difference.sha256
        {
            return Err(Refusal::OtherDifference {
                rollout: self.state.id.clone(),
                revision,
                given: given.chars().take(80).collect(),
                is: difference.sha256.clone(),
            });
        }
        match self.ctx.new_plan {
            Some(new) if new.digest() == pending.plan.sha256 => self.may_enter(new, "accept")?,
            _ => {
                return Err(Refusal::Revision {
                    problem: "the plan to accept was not given".to_owned(),
                });
            }
        }
        let protected = self.permissions().is_protected() && !self.glass_broken;
        if protected && pending.by == self.actor() {
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

/// Checks that no revision is pending.
pub(super) fn no_revision_waits(state: &RolloutState, what: &'static str) -> Result<(), Refusal> {
    match &state.pending_revision {
        Some(pending) => Err(Refusal::RevisionWaits {
            what,
            rollout: state.id.clone(),
            revision: pending.revision,
        }),
        None => Ok(()),
    }
}

/// Checks that parameters of both plans keep their values, except those named with a new one.
fn parameters_carried(
    before: &Plan,
    after: &Plan,
    named: &BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some((name, value)) = named
        .iter()
        .find(|(name, value)| after.params().get(*name) != Some(*value))
    {
        return Err(format!(
            "parameter `{name}` is named with value `{value}`, the changed plan has another; load the plan with the value named"
        ));
    }
    let reset: Vec<String> = after
        .params()
        .iter()
        .filter(|(name, _)| !named.contains_key(*name))
        .filter_map(|(name, value)| {
            let old = before.params().get(name).filter(|old| *old != value)?;
            Some(format!("`{name}` from `{old}` to `{value}`"))
        })
        .collect();
    if reset.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "it changes parameter {} without naming it; load the changed plan with the values in force, or name the new ones in `params`",
            reset.join(", ")
        ))
    }
}

/// Voids the sign-offs at all gates that have not passed.
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
