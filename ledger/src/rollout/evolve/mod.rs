//! Folding: every (state, event) pair is a transition or a named error.

mod authority;
mod gate;
mod lifecycle;
mod rollback;
mod step;

pub use rollback::undone;

use std::sync::Arc;

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::illegal::IllegalEvent;
use super::state::{Advised, RolloutState, StepState};
use crate::clock::from_proto;
use crate::ids::{PhaseId, StepId};
use crate::journal::StoredCommit;

/// The context of an event, taken from its commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta<'a> {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) actor: Option<&'a v1::Actor>,
    pub(super) aggregate_id: &'a str,
    pub(super) event: &'static str,
}

impl<'a> Meta<'a> {
    fn new(commit: &'a v1::Commit, event: &v1::Event, sequence: u64, at: Timestamp) -> Self {
        Self {
            sequence,
            at,
            actor: commit.actor.as_ref(),
            aggregate_id: &commit.aggregate_id,
            event: name(event),
        }
    }
}

impl Meta<'_> {
    /// Returns the person who caused the event, if its actor is a person.
    fn person(&self) -> Option<&str> {
        self.actor
            .filter(|actor| actor.kind() == v1::ActorKind::Person)
            .map(|actor| actor.name.as_str())
    }

    fn malformed(&self, field: &'static str) -> IllegalEvent {
        IllegalEvent::Malformed {
            sequence: self.sequence,
            event: self.event.to_owned(),
            field,
        }
    }

    fn unknown(&self, what: String) -> IllegalEvent {
        IllegalEvent::Unknown {
            sequence: self.sequence,
            event: self.event.to_owned(),
            what,
        }
    }

    fn transition(&self, reason: impl Into<String>) -> IllegalEvent {
        IllegalEvent::Transition {
            sequence: self.sequence,
            event: self.event.to_owned(),
            reason: reason.into(),
        }
    }

    fn step_id(&self, text: &str) -> Result<StepId, IllegalEvent> {
        StepId::new(text).map_err(|_| self.malformed("step_id"))
    }

    /// Returns the error for an unknown or malformed step id.
    fn no_step(&self, text: &str) -> IllegalEvent {
        match self.step_id(text) {
            Ok(id) => self.unknown(format!("step {id}")),
            Err(malformed) => malformed,
        }
    }

    fn phase_id(&self, text: &str) -> Result<PhaseId, IllegalEvent> {
        PhaseId::new(text).map_err(|_| self.malformed("gate_id"))
    }
}

/// Applies one commit; `state` is `None` before the rollout's first commit.
///
/// Total: a commit that no rule could have written yields an [`IllegalEvent`], and none of it is
/// applied.
pub fn evolve(
    state: Option<RolloutState>,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<RolloutState, IllegalEvent> {
    match state {
        Some(mut state) => {
            advance(&mut state, commit, sequence)?;
            Ok(state)
        }
        None => begin(commit, sequence),
    }
}

/// Applies one commit in place; cheaper than [`evolve`] for long histories.
///
/// # Errors
/// As `evolve`, but part of the commit may have been applied: discard the state.
pub fn advance(
    state: &mut RolloutState,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<(), IllegalEvent> {
    let at = checked(commit, sequence, state.id.as_str(), state.sequence)?;
    if state.command_ids.holds(commit) {
        return Err(IllegalEvent::CommandTwice {
            sequence,
            command_id: commit.command_id.clone(),
        });
    }
    for event in &commit.events {
        apply(state, event, &Meta::new(commit, event, sequence, at))?;
    }
    finish(state, commit, sequence);
    Ok(())
}

/// Builds the state after the first commit.
fn begin(commit: &v1::Commit, sequence: u64) -> Result<RolloutState, IllegalEvent> {
    let at = checked(commit, sequence, &commit.aggregate_id, 0)?;
    let Some((first, rest)) = commit.events.split_first() else {
        return Err(malformed_commit(sequence, "events"));
    };
    let meta = Meta::new(commit, first, sequence, at);
    let mut state = match &first.kind {
        None => return Err(meta.malformed("kind")),
        Some(Kind::RolloutOpened(opened)) => lifecycle::opened(opened, &meta)?,
        Some(_) => {
            return Err(IllegalEvent::NotOpened {
                sequence,
                event: meta.event.to_owned(),
            });
        }
    };
    for event in rest {
        apply(&mut state, event, &Meta::new(commit, event, sequence, at))?;
    }
    finish(&mut state, commit, sequence);
    Ok(state)
}

/// Checks that a commit directly follows sequence `last` of `owner`; returns the commit's time.
fn checked(
    commit: &v1::Commit,
    sequence: u64,
    owner: &str,
    last: u64,
) -> Result<Timestamp, IllegalEvent> {
    if commit.aggregate != "rollout" || commit.aggregate_id != owner {
        return Err(IllegalEvent::Foreign {
            sequence,
            expected: format!("rollout {owner}"),
            found: format!("{} {}", commit.aggregate, commit.aggregate_id),
        });
    }
    if commit.previous_sequence != last || sequence <= last {
        return Err(IllegalEvent::OutOfOrder {
            sequence,
            expected: last,
            found: commit.previous_sequence,
        });
    }
    let at = from_proto(commit.recorded_at.as_ref())
        .ok_or_else(|| malformed_commit(sequence, "recorded_at"))?;
    if commit.events.is_empty() {
        return Err(malformed_commit(sequence, "events"));
    }
    Ok(at)
}

fn malformed_commit(sequence: u64, field: &'static str) -> IllegalEvent {
    IllegalEvent::Malformed {
        sequence,
        event: "Commit".to_owned(),
        field,
    }
}

fn finish(state: &mut RolloutState, commit: &v1::Commit, sequence: u64) {
    state.sequence = sequence;
    let texts = commit.texts.iter().flat_map(|text| text.evidence.clone());
    state.long_texts.extend(texts);
    state.command_ids.insert(commit, sequence);
}

/// Folds a history from its first commit; `None` if it is empty.
pub fn fold(commits: &[StoredCommit]) -> Result<Option<RolloutState>, IllegalEvent> {
    let mut state = None;
    for stored in commits {
        match &mut state {
            Some(state) => advance(state, &stored.commit, stored.sequence)?,
            None => state = Some(begin(&stored.commit, stored.sequence)?),
        }
    }
    Ok(state)
}

/// Applies one event.
pub(super) fn apply(
    s: &mut RolloutState,
    event: &v1::Event,
    meta: &Meta<'_>,
) -> Result<(), IllegalEvent> {
    let Some(kind) = &event.kind else {
        return Err(meta.malformed("kind"));
    };
    s.events += 1;
    let after = s.status.after(kind).map_err(|why| meta.transition(why))?;
    apply_kind(s, kind, meta)?;
    s.status = after;
    Ok(())
}

fn apply_kind(s: &mut RolloutState, kind: &Kind, meta: &Meta<'_>) -> Result<(), IllegalEvent> {
    match kind {
        Kind::RolloutOpened(_) => Err(meta.transition("the rollout is open already")),
        Kind::RolloutStarted(_) => {
            s.started_at = Some(meta.at);
            Ok(())
        }
        Kind::RolloutPaused(_) | Kind::RolloutResumed(_) => Ok(()),
        Kind::RolloutAborted(_) => {
            lifecycle::aborted(s);
            Ok(())
        }
        Kind::RolloutClosed(e) => lifecycle::closed(s, e, meta),
        Kind::StepStarted(e) => step::started(s, e, meta),
        Kind::StepMeasured(e) => step::measured(s, e, meta),
        Kind::StepFinished(e) => step::finished(s, e, meta),
        Kind::StepInterrupted(e) => step::interrupted(s, e, meta),
        Kind::StepRetried(e) => step::retried(s, e, meta),
        Kind::StepSkipped(e) => step::skipped(s, e, meta),
        Kind::NotApplicableProposed(e) => step::proposed(s, e, meta),
        Kind::NotApplicableReviewed(e) => step::reviewed(s, e, meta),
        Kind::UndoStarted(e) => rollback::undo_started(s, e, meta),
        Kind::UndoFinished(e) => rollback::undo_finished(s, e, meta),
        Kind::SignOffGiven(e) => gate::given(s, e, meta),
        Kind::SignOffRefused(e) => gate::refused(s, e, meta),
        Kind::SignOffVoided(e) => gate::voided(s, e, meta),
        Kind::GatePassed(e) => gate::passed(s, e, meta),
        Kind::GateBlocked(e) => gate::blocked(s, e, meta),
        Kind::PlanRevised(e) => lifecycle::plan_revised(s, e, meta),
        Kind::PlanRevisionAccepted(e) => lifecycle::revision_accepted(s, e, meta),
        Kind::PlanRevisionWithdrawn(e) => lifecycle::revision_withdrawn(s, e, meta),
        Kind::RequestMade(e) => authority::request_made(s, e, meta),
        Kind::RequestConfirmed(e) => authority::request_confirmed(s, e, meta),
        Kind::RequestEnded(e) => authority::request_ended(s, e, meta),
        Kind::GlassBroken(e) => authority::glass_broken(s, e, meta),
        Kind::GlassReviewed(e) => authority::glass_reviewed(s, e, meta),
        Kind::ReviewOverdue(e) => authority::review_overdue(s, e, meta),
        Kind::RollbackPointRecorded(e) => rollback::point(s, e, meta),
        Kind::RollbackStarted(e) => rollback::started(s, e, meta),
        Kind::RollbackFinished(e) => rollback::finished(s, e, meta),
        Kind::AdviceGiven(e) => {
            s.advice = Some(Advised {
                rule: e.rule.clone(),
                inputs: e.inputs.clone(),
                is_over: e.advice == super::NO_ADVICE,
                event: s.events,
            });
            Ok(())
        }
        Kind::AlertRaised(e) => step::alert_raised(s, e, meta),
        Kind::AlertResolved(e) => step::alert_resolved(s, e, meta),
        Kind::AlertUnwatched(e) => step::alert_unwatched(s, e, meta),
        Kind::NoticeSent(e) => lifecycle::notice_sent(s, e, meta),
        Kind::SnapshotTaken(e) => step::snapshot_taken(s, e, meta),
        Kind::ComparisonMade(e) => step_mut(s, &e.step_id, meta).map(|_| ()),
        Kind::AuditTaken(e) => step_mut(s, &e.step_id, meta).map(|_| ()),
        Kind::SuccessMetricRecorded(e) => {
            let status = v1::Verdict::try_from(e.status).map_err(|_| meta.malformed("status"))?;
            s.success.insert(e.metric.clone(), status);
            s.reviewed.insert(e.metric.clone());
            Ok(())
        }
        Kind::FlagDefined(_) | Kind::FlagChanged(_) | Kind::FlagArchived(_) => {
            Err(meta.transition("it is an event of a flag, not of a rollout"))
        }
        Kind::WorkerJoined(_) | Kind::WorkerLeft(_) => {
            Err(meta.transition("it is an event of a worker, not of a rollout"))
        }
        Kind::EnvironmentRecorded(_)
        | Kind::EnvironmentRevised(_)
        | Kind::EnvironmentRevisionAccepted(_)
        | Kind::EnvironmentRevisionWithdrawn(_) => {
            Err(meta.transition("it is an event of an environment, not of a rollout"))
        }
    }
}

fn step_mut<'s>(
    state: &'s mut RolloutState,
    id: &str,
    meta: &Meta<'_>,
) -> Result<(StepId, &'s mut StepState), IllegalEvent> {
    match state.steps.get_full_mut(id) {
        Some((_, id, step)) => Ok((id.clone(), Arc::make_mut(step))),
        None => Err(meta.no_step(id)),
    }
}

/// Returns the event's name in the wire format.
pub(super) fn name(event: &v1::Event) -> &'static str {
    let kind = event.kind.as_ref();
    kind.map_or("an event without kind", Kind::message_name)
}
