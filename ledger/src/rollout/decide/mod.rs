//! Decision rules: a request on a state yields events, or a refusal by a named rule.

mod authority;
mod bounds;
mod gate;
mod lifecycle;
mod manual;
mod rollback;
mod step;
mod system;
mod worker;

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::command::{Command, Request, SystemCommand, WorkerCommand};
use super::limits::MAX_TEXT_BYTES;
use super::refusal::Refusal;
use super::remedy::Remedy;
use super::state::{RolloutState, StepState};
use crate::environment::Environments;
use crate::ids::{EnvironmentId, StepId};
use crate::person;
use crate::runbook::{Plan, Step};

pub use gate::{GateBlock, why_gate_is_blocked};
pub use lifecycle::{open, records};
pub use rollback::preview_rollback;

/// Who asks, when, and under which command id.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Current time of the injected clock.
    pub now: Timestamp,
    /// Who asks.
    pub actor: &'a v1::Actor,
    /// Idempotency key; a command id that the state knows has already been applied.
    pub command_id: &'a str,
    /// The plan of a `Revise` or `AcceptRevision`, read from the evidence store by its digest;
    /// `None` for every other command.
    pub new_plan: Option<&'a Plan>,
    /// The ledger's records of the environments in which the plan in force and `new_plan` act.
    pub environments: &'a Environments,
}

/// Decides a request under the plan in force, `plan`.
///
/// Returns an empty list if there is nothing to do: this command id was already applied, or the
/// state is already as requested. The events belong in one commit: all or none. It is up to the
/// caller to check in the state's `command_ids` whether an applied id belonged to the same command.
pub fn decide(
    state: &RolloutState,
    plan: &Plan,
    request: &Request,
    ctx: &Context<'_>,
) -> Result<Vec<v1::Event>, Refusal> {
    let applied = state.command_ids.find(ctx.actor.kind(), ctx.command_id);
    if applied.is_some() {
        return Ok(Vec::new());
    }
    if plan.digest() != state.plan_digest {
        return Err(Refusal::PlanDigest {
            given: plan.digest().to_owned(),
            in_force: state.plan_digest.clone(),
        });
    }
    check_actor(request, ctx.actor)?;
    let d = Decider {
        state,
        plan,
        ctx,
        glass_broken: false,
    };
    let kinds = match request {
        Request::Person(command) => d.person(command)?,
        Request::Worker(command) => d.worker(command)?,
        Request::System(SystemCommand::Settle) => {
            return super::settle::settle(state, plan, ctx.now).map_err(Refusal::Inconsistent);
        }
        Request::System(SystemCommand::GiveUp {
            step,
            attempt,
            reason,
        }) => d.give_up(step, *attempt, reason)?,
        Request::System(SystemCommand::RecordNotice { sent }) => d.record_notice(sent)?,
    };
    let events: Vec<v1::Event> = kinds.into_iter().map(event).collect();
    bounds::fit(&events)?;
    Ok(events)
}

/// Wraps an event kind.
pub(super) fn event(kind: Kind) -> v1::Event {
    v1::Event { kind: Some(kind) }
}

fn check_actor(request: &Request, actor: &v1::Actor) -> Result<(), Refusal> {
    let person = actor.kind() == v1::ActorKind::Person;
    let refuse = |rule| Refusal::Actor {
        actor: if actor.name.is_empty() {
            "someone without a name".to_owned()
        } else {
            actor.name.clone()
        },
        rule,
    };
    match request {
        Request::Person(_) if !person || actor.name.trim().is_empty() => {
            Err(refuse("it takes a person with a name"))
        }
        Request::Worker(_) if person => Err(refuse("only workers record what steps did")),
        Request::System(_) if person => Err(refuse("only the orchestrator settles rollouts")),
        _ => Ok(()),
    }
}

/// The event kinds that one command decides.
pub(super) type Decided = Result<Vec<Kind>, Refusal>;

/// State, plan and context of one decision.
#[derive(Clone, Copy)]
struct Decider<'a> {
    state: &'a RolloutState,
    plan: &'a Plan,
    ctx: &'a Context<'a>,
    /// Glass was broken: one person does what otherwise takes two.
    glass_broken: bool,
}

impl<'a> Decider<'a> {
    /// Decides a command whose actor is authorized.
    fn act(&self, command: &Command) -> Decided {
        match command {
            Command::Start {} => self.start(),
            Command::Pause { reason } => self.pause(reason),
            Command::Resume { reason } => self.resume(reason),
            Command::Abort { reason } => self.abort(reason),
            Command::Skip { step, reason } => self.skip(step, reason),
            Command::Retry { step, reason } => self.retry(step, reason),
            Command::Complete {
                step,
                checklist,
                evidence,
                note,
            } => self.complete(step, checklist, evidence, note),
            Command::ProposeNotApplicable { step, reason } => self.propose(step, reason),
            Command::ReviewNotApplicable {
                step,
                accept,
                reason,
            } => self.review(step, *accept, reason),
            Command::Approve {
                gate,
                role,
                statement,
                seen,
            } => self.approve(gate, role.as_deref(), statement.as_deref(), seen),
            Command::Reject { gate, role, reason } => self.reject(gate, role.as_deref(), reason),
            Command::Undo { step, reason } => self.undo(step, reason),
            Command::Rollback {
                level,
                steps,
                reason,
            } => self.rollback(*level, steps, reason),
            Command::Revise {
                plan,
                params,
                reason,
            } => self.revise(plan, params, reason),
            Command::AcceptRevision {
                revision,
                difference,
                ..
            } => self.accept_revision(*revision, difference.as_deref()),
            Command::WithdrawRevision { revision, reason } => {
                self.withdraw_revision(*revision, reason)
            }
            Command::Confirm { .. }
            | Command::Withdraw { .. }
            | Command::BreakGlass { .. }
            | Command::Review { .. } => self.person(command),
        }
    }

    fn worker(&self, command: &WorkerCommand) -> Decided {
        match command {
            WorkerCommand::StartStep {
                step,
                attempt,
                worker,
                intent,
            } => self.start_step(step, *attempt, worker, intent),
            WorkerCommand::Measure {
                step,
                attempt,
                measurement,
            } => self.measure(step, *attempt, measurement),
            WorkerCommand::FinishStep { finished, details } => self.finish_step(finished, details),
            WorkerCommand::InterruptStep {
                step,
                attempt,
                reason,
            } => self.interrupt_step(step, *attempt, reason),
            WorkerCommand::ResumeStep {
                step,
                attempt,
                worker,
                reason,
            } => self.resume_step(step, *attempt, worker, reason),
            WorkerCommand::StartUndo {
                step,
                attempt,
                worker,
                intent,
            } => self.start_undo(step, *attempt, worker, intent),
            WorkerCommand::FinishUndo { finished } => self.finish_undo(finished),
        }
    }

    fn step(&self, id: &StepId) -> Result<(&'a StepState, &'a Step), Refusal> {
        match (self.state.step(id), self.plan.step(id)) {
            (Some(state), Some((_, step))) => Ok((state, step)),
            _ => Err(Refusal::no_such_step(self.state, id.as_str())),
        }
    }

    fn actor(&self) -> &'a str {
        &self.ctx.actor.name
    }

    /// Builds a refusal due to the rollout's status, without remedies.
    fn status(&self, what: &'static str, remedy: impl Into<String>) -> Refusal {
        status(self.state, what, remedy, Vec::new())
    }

    /// Builds a refusal due to the rollout's status, with one remedy.
    fn status_with(&self, what: &'static str, text: &'static str, remedy: Remedy) -> Refusal {
        status(self.state, what, text, vec![remedy])
    }
}

/// Builds a refusal due to the rollout's status.
fn status(
    state: &RolloutState,
    what: &'static str,
    remedy: impl Into<String>,
    remedies: Vec<Remedy>,
) -> Refusal {
    Refusal::Status {
        what,
        status: state.status.as_str(),
        remedy: remedy.into(),
        remedies,
    }
}

/// Returns the remedy for missing roles: recording the environment with roles.
fn roles_remedy(lacks_roles: bool, environment: &str) -> Vec<Remedy> {
    let environment = EnvironmentId::new(environment).ok().filter(|_| lacks_roles);
    environment
        .map(|environment| Remedy::SetEnvironment { environment })
        .into_iter()
        .collect()
}

/// Returns the trimmed text, which must be non-blank and within the limit.
fn required<'t>(
    what: &'static str,
    field: &'static str,
    text: &'t str,
) -> Result<&'t str, Refusal> {
    let text = text.trim();
    if person::is_blank(text) {
        return Err(Refusal::TextMissing { what, field });
    }
    optional(field, text)
}

/// Returns the text, which must be within the limit.
fn optional<'t>(field: &'static str, text: &'t str) -> Result<&'t str, Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::TextTooLong {
            field,
            bytes: text.len(),
            limit: MAX_TEXT_BYTES,
        });
    }
    Ok(text)
}
