//! What every adapter checks before a commit leaves the process, and the names of its events.

use bytes::Bytes;
use prost::Message;
use rollbook_proto::SCHEMA_VERSION;
use rollbook_proto::v1::{Commit, Event, event::Kind};
use uuid::Uuid;

use super::{JournalError, MAX_COMMIT_BYTES};
use crate::ids::{Aggregate, LedgerId};

/// Checks a commit against the aggregate and ledger it is appended to and encodes it.
///
/// # Errors
/// `Malformed` names the first field that is wrong, `TooLarge` the size. Nothing was sent.
pub(super) fn seal(
    ledger: &LedgerId,
    aggregate: &Aggregate,
    commit: &Commit,
) -> Result<Bytes, JournalError> {
    if let Some(reason) = fault(ledger, aggregate, commit) {
        return Err(JournalError::Malformed {
            aggregate: aggregate.to_string(),
            reason,
        });
    }
    let bytes = commit.encoded_len();
    if bytes > MAX_COMMIT_BYTES {
        return Err(JournalError::TooLarge {
            aggregate: aggregate.to_string(),
            bytes,
        });
    }
    Ok(Bytes::from(commit.encode_to_vec()))
}

/// What is wrong with a commit, or `None`.
fn fault(ledger: &LedgerId, aggregate: &Aggregate, commit: &Commit) -> Option<String> {
    if Uuid::parse_str(&commit.id).is_err() {
        return Some(format!("id `{}` is not a UUID", commit.id));
    }
    if commit.ledger != ledger.as_str() {
        return Some(format!(
            "ledger is `{}`, this journal is `{ledger}`",
            commit.ledger
        ));
    }
    if commit.aggregate != aggregate.kind() || commit.aggregate_id != aggregate.id() {
        return Some(format!(
            "it names {} {}",
            commit.aggregate, commit.aggregate_id
        ));
    }
    if commit.schema_version == 0 || commit.schema_version > SCHEMA_VERSION {
        return Some(format!(
            "schema_version is {}, this build writes 1 to {SCHEMA_VERSION}",
            commit.schema_version
        ));
    }
    if commit.events.is_empty() {
        return Some("it has no event".to_owned());
    }
    commit
        .events
        .iter()
        .position(|event| event.kind.is_none())
        .map(|index| format!("event {index} has no kind"))
}

/// Decodes a stored commit.
///
/// # Errors
/// `Corrupt` with the sequence.
pub(super) fn open(sequence: u64, payload: &[u8]) -> Result<Commit, JournalError> {
    Commit::decode(payload).map_err(|error| JournalError::Corrupt {
        sequence,
        reason: error.to_string(),
    })
}

/// The name of an event's type as in `commit.proto`, `unknown` for a kind this build does not
/// know.
pub fn event_type(event: &Event) -> &'static str {
    let Some(kind) = &event.kind else {
        return "unknown";
    };
    match kind {
        Kind::RolloutOpened(_) => "rollout_opened",
        Kind::RolloutStarted(_) => "rollout_started",
        Kind::RolloutPaused(_) => "rollout_paused",
        Kind::RolloutResumed(_) => "rollout_resumed",
        Kind::RolloutAborted(_) => "rollout_aborted",
        Kind::RolloutClosed(_) => "rollout_closed",
        Kind::StepStarted(_) => "step_started",
        Kind::StepMeasured(_) => "step_measured",
        Kind::StepFinished(_) => "step_finished",
        Kind::StepInterrupted(_) => "step_interrupted",
        Kind::StepRetried(_) => "step_retried",
        Kind::StepSkipped(_) => "step_skipped",
        Kind::NotApplicableProposed(_) => "not_applicable_proposed",
        Kind::NotApplicableReviewed(_) => "not_applicable_reviewed",
        Kind::UndoStarted(_) => "undo_started",
        Kind::UndoFinished(_) => "undo_finished",
        Kind::SignOffGiven(_) => "sign_off_given",
        Kind::SignOffRefused(_) => "sign_off_refused",
        Kind::SignOffVoided(_) => "sign_off_voided",
        Kind::GatePassed(_) => "gate_passed",
        Kind::GateBlocked(_) => "gate_blocked",
        Kind::PlanRevised(_) => "plan_revised",
        Kind::PlanRevisionAccepted(_) => "plan_revision_accepted",
        Kind::RequestMade(_) => "request_made",
        Kind::RequestConfirmed(_) => "request_confirmed",
        Kind::RequestEnded(_) => "request_ended",
        Kind::GlassBroken(_) => "glass_broken",
        Kind::GlassReviewed(_) => "glass_reviewed",
        Kind::ReviewOverdue(_) => "review_overdue",
        Kind::PlanRevisionWithdrawn(_) => "plan_revision_withdrawn",
        Kind::RollbackPointRecorded(_) => "rollback_point_recorded",
        Kind::RollbackStarted(_) => "rollback_started",
        Kind::RollbackFinished(_) => "rollback_finished",
        Kind::AdviceGiven(_) => "advice_given",
        Kind::AlertRaised(_) => "alert_raised",
        Kind::AlertResolved(_) => "alert_resolved",
        Kind::AlertUnwatched(_) => "alert_unwatched",
        Kind::NoticeSent(_) => "notice_sent",
        Kind::SnapshotTaken(_) => "snapshot_taken",
        Kind::ComparisonMade(_) => "comparison_made",
        Kind::AuditTaken(_) => "audit_taken",
        Kind::SuccessMetricRecorded(_) => "success_metric_recorded",
        Kind::FlagDefined(_) => "flag_defined",
        Kind::FlagChanged(_) => "flag_changed",
        Kind::FlagArchived(_) => "flag_archived",
        Kind::WorkerJoined(_) => "worker_joined",
        Kind::WorkerLeft(_) => "worker_left",
        Kind::EnvironmentRecorded(_) => "environment_recorded",
        Kind::EnvironmentRevised(_) => "environment_revised",
        Kind::EnvironmentRevisionAccepted(_) => "environment_revision_accepted",
        Kind::EnvironmentRevisionWithdrawn(_) => "environment_revision_withdrawn",
    }
}
