//! One example of every event, in a commit.

use rollbook_proto::v1::event::Kind;
use rollbook_proto::v1::{Actor, ActorKind, Commit, Event, Evidence, LongText};

use crate::values::Distinct;
use crate::{authority, flags, gates, lifecycle, outcomes, steps, workers};

/// A commit and the name of its files.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) commit: Commit,
}

/// How an example is built.
type Build = fn(&mut Distinct) -> Kind;

/// The event's name in `commit.proto`. A new event does not compile until it is named here, and
/// does not pass until it has an example.
pub(crate) fn name(kind: &Kind) -> &'static str {
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

const BUILDERS: &[Build] = &[
    lifecycle::rollout_opened,
    lifecycle::rollout_started,
    lifecycle::rollout_paused,
    lifecycle::rollout_resumed,
    lifecycle::rollout_aborted,
    lifecycle::rollout_closed,
    steps::step_started,
    steps::step_measured,
    steps::step_finished,
    steps::step_interrupted,
    steps::step_retried,
    steps::step_skipped,
    steps::not_applicable_proposed,
    steps::not_applicable_reviewed,
    steps::undo_started,
    steps::undo_finished,
    gates::sign_off_given,
    gates::sign_off_refused,
    gates::sign_off_voided,
    gates::gate_passed,
    gates::gate_blocked,
    lifecycle::plan_revised,
    lifecycle::plan_revision_accepted,
    lifecycle::rollback_point_recorded,
    lifecycle::rollback_started,
    lifecycle::rollback_finished,
    outcomes::advice_given,
    outcomes::alert_raised,
    outcomes::alert_resolved,
    outcomes::alert_unwatched,
    outcomes::notice_sent,
    outcomes::snapshot_taken,
    outcomes::comparison_made,
    outcomes::audit_taken,
    outcomes::success_metric_recorded,
    flags::flag_defined,
    flags::flag_changed,
    flags::flag_archived,
    workers::worker_joined,
    workers::worker_left,
    authority::request_made,
    authority::request_confirmed,
    authority::request_ended,
    authority::glass_broken,
    authority::glass_reviewed,
    authority::review_overdue,
    authority::plan_revision_withdrawn,
    authority::environment_recorded,
    authority::environment_revised,
    authority::environment_revision_accepted,
    authority::environment_revision_withdrawn,
];

/// Further examples of events that have gained fields, with their file names: `("step_finished-2",
/// …)`.
const LATER: &[(&str, Build)] = &[
    ("comparison_made-2", outcomes::comparison_made_of_texts),
    ("comparison_made_by_type", outcomes::comparison_made_by_type),
    ("sign_off_given-2", gates::sign_off_of_what_was_seen),
    ("step_finished-2", steps::step_finished_partly),
    ("step_interrupted-2", steps::step_interrupted_and_resumed),
    ("gate_blocked-2", gates::gate_blocked_by_many),
    ("undo_finished-2", steps::undo_verified),
    ("undo_finished-3", steps::undo_finished_partly),
    ("rollback_started-2", lifecycle::rollback_started_with_all),
    ("rollback_finished-2", lifecycle::rollback_finished_with_all),
    ("plan_revised-2", authority::plan_revised_with_difference),
    (
        "comparison_made_with_verdict",
        outcomes::comparison_made_with_verdict,
    ),
    ("step_finished_exactly", steps::step_finished_exactly),
    (
        "plan_revised_with_its_runbook",
        lifecycle::plan_revised_with_its_runbook,
    ),
];

/// Every event in a commit of its own, and one commit of several events.
pub(crate) fn examples() -> Vec<Example> {
    let first = BUILDERS.iter().map(|build| {
        let kind = build(&mut Distinct::default());
        Example {
            name: name(&kind).to_owned(),
            commit: commit(vec![kind]),
        }
    });
    let later = LATER.iter().map(|(name, build)| Example {
        name: (*name).to_owned(),
        commit: commit(vec![build(&mut Distinct::default())]),
    });
    let mut d = Distinct::default();
    let several = Example {
        name: "several_events".to_owned(),
        commit: commit(vec![
            steps::step_started(&mut d),
            gates::gate_blocked(&mut d),
        ]),
    };
    let digested = Example {
        name: "command_digest".to_owned(),
        commit: Commit {
            command_digest: (0..16).collect(),
            ..commit(vec![lifecycle::rollout_started(&mut Distinct::default())])
        },
    };
    let texts = Example {
        name: "long_texts".to_owned(),
        commit: Commit {
            texts: vec![LongText {
                field: "reason".to_owned(),
                evidence: Some(Evidence {
                    sha256: "ab".repeat(32),
                    size_bytes: 300,
                    media_type: "text/plain".to_owned(),
                    name: "reason".to_owned(),
                    truncated: false,
                }),
            }],
            ..commit(vec![lifecycle::rollout_started(&mut Distinct::default())])
        },
    };
    first
        .chain(later)
        .chain([several, digested, texts])
        .collect()
}

/// Fills every field of the first version, with values distinct from those of the events.
pub(crate) fn commit(kinds: Vec<Kind>) -> Commit {
    Commit {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        ledger: "main".to_owned(),
        aggregate: "rollout".to_owned(),
        aggregate_id: "hello-1".to_owned(),
        schema_version: 1,
        command_id: "command".to_owned(),
        causation_id: "01890a5d-ac96-774b-bcce-b302099a8056".to_owned(),
        command_digest: Vec::new(),
        texts: Vec::new(),
        actor: Some(Actor {
            name: "alice".to_owned(),
            kind: ActorKind::Person.into(),
            authentication: "asserted".to_owned(),
        }),
        recorded_at: Some(rollbook_proto::Timestamp {
            seconds: 1_800_000_000,
            nanos: 1,
        }),
        previous_sequence: 300,
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        events: kinds
            .into_iter()
            .map(|kind| Event { kind: Some(kind) })
            .collect(),
    }
}
