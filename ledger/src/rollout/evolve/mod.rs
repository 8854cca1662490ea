//! Folding: every (state, event) pair is a transition or a named error.

mod gate;
mod lifecycle;
mod rollback;
mod step;

use jiff::Timestamp;
use rollbook_proto::v1::{self, event::Kind};

use super::illegal::IllegalEvent;
use super::state::{RolloutState, StepState};
use crate::clock::from_proto;
use crate::ids::{PhaseId, StepId};
use crate::journal::StoredCommit;

/// What an event's commit says about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta<'a> {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    pub(super) actor: Option<&'a v1::Actor>,
    pub(super) aggregate_id: &'a str,
    pub(super) event: &'static str,
}

impl Meta<'_> {
    /// The person who caused the event, if it was one.
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

    fn phase_id(&self, text: &str) -> Result<PhaseId, IllegalEvent> {
        PhaseId::new(text).map_err(|_| self.malformed("gate_id"))
    }
}

/// Applies one commit. `None` is the rollout before its first commit.
///
/// Total: a commit that no rule could have written is an [`IllegalEvent`], and then nothing of
/// it is applied.
pub fn evolve(
    state: Option<RolloutState>,
    commit: &v1::Commit,
    sequence: u64,
) -> Result<RolloutState, IllegalEvent> {
    let last = state.as_ref().map_or(0, |state| state.sequence);
    let owner = match &state {
        Some(state) => state.id.to_string(),
        None => commit.aggregate_id.clone(),
    };
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
    let commit_error = |field| IllegalEvent::Malformed {
        sequence,
        event: "Commit".to_owned(),
        field,
    };
    let at = from_proto(commit.recorded_at.as_ref()).ok_or_else(|| commit_error("recorded_at"))?;
    if commit.events.is_empty() {
        return Err(commit_error("events"));
    }
    if let Some(state) = &state
        && state.command_ids.contains(&commit.command_id)
    {
        return Err(IllegalEvent::CommandTwice {
            sequence,
            command_id: commit.command_id.clone(),
        });
    }
    let mut state = state;
    for event in &commit.events {
        let meta = Meta {
            sequence,
            at,
            actor: commit.actor.as_ref(),
            aggregate_id: &commit.aggregate_id,
            event: name(event),
        };
        state = Some(apply(state, event, &meta)?);
    }
    let mut state = state.ok_or_else(|| commit_error("events"))?;
    state.sequence = sequence;
    if !commit.command_id.is_empty() {
        state.command_ids.insert(commit.command_id.clone());
    }
    Ok(state)
}

/// Folds a history from its first commit; `None` for an empty one.
pub fn fold(commits: &[StoredCommit]) -> Result<Option<RolloutState>, IllegalEvent> {
    let mut state = None;
    for stored in commits {
        state = Some(evolve(state, &stored.commit, stored.sequence)?);
    }
    Ok(state)
}

/// Applies one event.
pub(super) fn apply(
    state: Option<RolloutState>,
    event: &v1::Event,
    meta: &Meta<'_>,
) -> Result<RolloutState, IllegalEvent> {
    let Some(kind) = &event.kind else {
        return Err(meta.malformed("kind"));
    };
    let Some(mut state) = state else {
        return match kind {
            Kind::RolloutOpened(opened) => lifecycle::opened(opened, meta),
            _ => Err(IllegalEvent::NotOpened {
                sequence: meta.sequence,
                event: meta.event.to_owned(),
            }),
        };
    };
    state.events += 1;
    let s = &mut state;
    match kind {
        Kind::RolloutOpened(_) => Err(meta.transition("the rollout is open already")),
        Kind::RolloutStarted(_) => lifecycle::started(s, meta),
        Kind::RolloutPaused(_) => lifecycle::paused(s, meta),
        Kind::RolloutResumed(_) => lifecycle::resumed(s, meta),
        Kind::RolloutAborted(_) => lifecycle::aborted(s, meta),
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
        Kind::RollbackPointRecorded(e) => rollback::point(s, e, meta),
        Kind::RollbackStarted(e) => rollback::started(s, e, meta),
        Kind::RollbackFinished(e) => rollback::finished(s, e, meta),
        Kind::AdviceGiven(e) => {
            s.advice = Some((e.rule.clone(), e.inputs.clone()));
            Ok(())
        }
        Kind::AlertRaised(e) => step::alert_raised(s, e, meta),
        Kind::AlertResolved(e) => step::alert_resolved(s, e, meta),
        Kind::NoticeSent(e) => lifecycle::notice_sent(s, e, meta),
        Kind::SnapshotTaken(e) => step::snapshot_taken(s, e, meta),
        Kind::ComparisonMade(e) => step_mut(s, &e.step_id, meta).map(|_| ()),
        Kind::AuditTaken(e) => step_mut(s, &e.step_id, meta).map(|_| ()),
        Kind::SuccessMetricRecorded(e) => {
            let status = v1::Verdict::try_from(e.status).map_err(|_| meta.malformed("status"))?;
            s.success.insert(e.metric.clone(), status);
            Ok(())
        }
        Kind::FlagDefined(_) | Kind::FlagChanged(_) | Kind::FlagArchived(_) => {
            Err(meta.transition("it is an event of a flag, not of a rollout"))
        }
    }?;
    Ok(state)
}

fn step_mut<'s>(
    state: &'s mut RolloutState,
    id: &str,
    meta: &Meta<'_>,
) -> Result<(StepId, &'s mut StepState), IllegalEvent> {
    let id = meta.step_id(id)?;
    match state.steps.get_mut(&id) {
        Some(step) => Ok((id, step)),
        None => Err(meta.unknown(format!("step {id}"))),
    }
}

/// The event's name as in the wire format.
pub(super) fn name(event: &v1::Event) -> &'static str {
    match &event.kind {
        None => "an event without kind",
        Some(kind) => match kind {
            Kind::RolloutOpened(_) => "RolloutOpened",
            Kind::RolloutStarted(_) => "RolloutStarted",
            Kind::RolloutPaused(_) => "RolloutPaused",
            Kind::RolloutResumed(_) => "RolloutResumed",
            Kind::RolloutAborted(_) => "RolloutAborted",
            Kind::RolloutClosed(_) => "RolloutClosed",
            Kind::StepStarted(_) => "StepStarted",
            Kind::StepMeasured(_) => "StepMeasured",
            Kind::StepFinished(_) => "StepFinished",
            Kind::StepInterrupted(_) => "StepInterrupted",
            Kind::StepRetried(_) => "StepRetried",
            Kind::StepSkipped(_) => "StepSkipped",
            Kind::NotApplicableProposed(_) => "NotApplicableProposed",
            Kind::NotApplicableReviewed(_) => "NotApplicableReviewed",
            Kind::UndoStarted(_) => "UndoStarted",
            Kind::UndoFinished(_) => "UndoFinished",
            Kind::SignOffGiven(_) => "SignOffGiven",
            Kind::SignOffRefused(_) => "SignOffRefused",
            Kind::SignOffVoided(_) => "SignOffVoided",
            Kind::GatePassed(_) => "GatePassed",
            Kind::GateBlocked(_) => "GateBlocked",
            Kind::PlanRevised(_) => "PlanRevised",
            Kind::PlanRevisionAccepted(_) => "PlanRevisionAccepted",
            Kind::RollbackPointRecorded(_) => "RollbackPointRecorded",
            Kind::RollbackStarted(_) => "RollbackStarted",
            Kind::RollbackFinished(_) => "RollbackFinished",
            Kind::AdviceGiven(_) => "AdviceGiven",
            Kind::AlertRaised(_) => "AlertRaised",
            Kind::AlertResolved(_) => "AlertResolved",
            Kind::NoticeSent(_) => "NoticeSent",
            Kind::SnapshotTaken(_) => "SnapshotTaken",
            Kind::ComparisonMade(_) => "ComparisonMade",
            Kind::AuditTaken(_) => "AuditTaken",
            Kind::SuccessMetricRecorded(_) => "SuccessMetricRecorded",
            Kind::FlagDefined(_) => "FlagDefined",
            Kind::FlagChanged(_) => "FlagChanged",
            Kind::FlagArchived(_) => "FlagArchived",
        },
    }
}
