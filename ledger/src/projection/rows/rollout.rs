//! Rows about the course of a rollout: plan, acts of people and workers, flags, timeline.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::projection::row::{Json, view_row};
use crate::projection::words::{
    ChecklistItem, Deduction, EffectLeft, EvidenceRef, FlagChangeKind, FlagMode, FlagSetting,
    GateStatus, Health, MeasuredValue, PartialEffect, RolloutEnding, RolloutStatus, SignOffStatus,
    StepRowStatus, UndoVerification, Verdict,
};
use crate::runbook::RollbackLevel;

view_row!(
    /// A rollout.
    RolloutRow, table "rollouts", key 1, {
        /// Its id.
        rollout: String,
        /// Its name.
        name: String,
        /// The runbook of the plan in force.
        runbook: String,
        /// That runbook's version.
        runbook_version: String,
        /// SHA-256 of the canonical plan now in force.
        plan_digest: String,
        /// Revision of the plan in force; 1 is the plan it was opened with.
        revision: u32,
        /// True unless a later revision waits for acceptance.
        revision_accepted: bool,
        /// The environment.
        environment: String,
        /// The environment is protected.
        protected: bool,
        /// Effective parameters.
        params: Json<BTreeMap<String, String>>,
        /// The current status.
        status: RolloutStatus,
        /// Reason of the last pause, resume or abort; empty if there was none.
        reason: String,
        /// How it ended; absent before that, and during a rollback after the end.
        outcome: Option<RolloutEnding>,
        /// The closing summary.
        summary: String,
        /// The first phase that is not complete; absent when all are.
        current_phase: Option<String>,
        /// Health status.
        health: Health,
        /// Health score, 0 to 100; absent with `NO_DATA`.
        health_score: Option<u32>,
        /// Number of open reviews of broken glass.
        open_reviews: u32,
        /// Who opened it.
        opened_by: String,
        /// When it was opened.
        opened_at: Option<Timestamp>,
        /// When it was started.
        started_at: Option<Timestamp>,
        /// When it was closed; absent during a rollback after the end.
        closed_at: Option<Timestamp>,
        /// Sequence of the commit that opened it.
        opened_sequence: u64,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A phase of a rollout.
    PhaseRow, table "phases", key 2, {
        /// The rollout.
        rollout: String,
        /// Its id.
        phase: String,
        /// Its position in the plan, from 0.
        position: u32,
        /// Its title.
        title: String,
        /// It ends with a gate of the same id.
        gate: bool,
        /// A later revision of the plan has removed it.
        dropped: bool,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A step of a rollout, at its latest attempt.
    StepRow, table "steps", key 2, {
        /// The rollout.
        rollout: String,
        /// Its id.
        step: String,
        /// Its phase.
        phase: String,
        /// Its position in the plan, from 0, counted over all phases.
        position: u32,
        /// Its title.
        title: String,
        /// Its kind, such as `sql`.
        kind: String,
        /// Its failure blocks the rollout.
        critical: bool,
        /// A later revision of the plan has removed it.
        dropped: bool,
        /// The current status.
        status: StepRowStatus,
        /// The latest attempt, from 1; 0 before the first.
        attempt: u32,
        /// The verdict of the latest finished attempt.
        verdict: Option<Verdict>,
        /// The rule that gave the verdict.
        rule: String,
        /// Reason of the verdict, with numbers, or of a skip, retry or interruption.
        message: String,
        /// The worker or person that executes it, or did in the latest attempt.
        worker: String,
        /// What it executes, redacted.
        intent: String,
        /// When the latest attempt started.
        started_at: Option<Timestamp>,
        /// When the latest attempt finished, was skipped or interrupted.
        finished_at: Option<Timestamp>,
        /// Duration of the latest finished attempt in ms, as measured by its worker.
        duration_ms: Option<u64>,
        /// Earliest start of the next attempt.
        not_before: Option<Timestamp>,
        /// After a crash the step's `verify` passed, so the action was not repeated.
        by_verification: bool,
        /// It has an effect that undo must remove.
        effect: bool,
        /// The partial effect, if the latest finished attempt stopped between its parts.
        partial: Json<Option<PartialEffect>>,
        /// Checklist answers of a manual step.
        checklist: Json<Vec<ChecklistItem>>,
        /// Evidence of the latest finished attempt.
        evidence: Json<Vec<EvidenceRef>>,
        /// The latest value of each metric of the latest attempt; all samples are in
        /// `measurements`.
        measurements: Json<Vec<MeasuredValue>>,
        /// The verdict of its undo.
        undo_verdict: Option<Verdict>,
        /// Whether a check other than the undo itself confirmed that the effect is gone; absent
        /// before that, and for undos recorded before this check existed.
        undo_verification: Option<UndoVerification>,
        /// Message of its undo.
        undo_message: String,
        /// The partial effect of its undo, if that stopped between its parts.
        undo_partial: Json<Option<PartialEffect>>,
        /// When its undo finished.
        undo_finished_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
        /// Who left it out; empty unless it was skipped.
        #[serde(default)]
        skipped_by: String,
        /// The worker or person that undoes it, or did.
        #[serde(default)]
        undo_worker: String,
    }
);

view_row!(
    /// A gate, the end of a phase.
    GateRow, table "gates", key 2, {
        /// The rollout.
        rollout: String,
        /// Its id, the phase's.
        gate: String,
        /// The phase's position in the plan.
        position: u32,
        /// The phase's title.
        title: String,
        /// A later revision of the plan has removed it.
        dropped: bool,
        /// The current status.
        status: GateStatus,
        /// Why it passed or is blocked.
        reasons: Json<Vec<String>>,
        /// When it was last decided.
        decided_at: Option<Timestamp>,
        /// Who decided it.
        decided_by: String,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A sign-off or a rejection at a gate.
    SignOffRow, table "sign_offs", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// The gate.
        gate: String,
        /// The person.
        person: String,
        /// How the identity was authenticated.
        authentication: String,
        /// The person's role.
        role: String,
        /// Whom the person acted for; empty means themselves.
        on_behalf_of: String,
        /// Whether it counts.
        status: SignOffStatus,
        /// The statement signed, or the reason of a rejection.
        statement: String,
        /// The plan that was signed off.
        plan_digest: String,
        /// Digests of the evidence the person was shown.
        evidence_seen: Json<Vec<String>>,
        /// When it was given.
        given_at: Option<Timestamp>,
        /// When it expires; absent means never.
        expires_at: Option<Timestamp>,
        /// Why it was voided; empty if it was not.
        voided_cause: String,
        /// When it was voided.
        voided_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// A flag in one environment.
    FlagRow, table "flags", key 2, {
        /// The environment.
        environment: String,
        /// The key that applications evaluate.
        key: String,
        /// What it is for.
        description: String,
        /// Who is responsible for it.
        owner: String,
        /// Its current mode.
        mode: FlagMode,
        /// Its current setting.
        setting: Json<FlagSetting>,
        /// The setting that an instant rollback writes.
        safe: Json<FlagSetting>,
        /// RFC 3339 date by which to retire it; empty means permanent.
        retire_by: String,
        /// Name of the bucketing algorithm.
        bucketing: String,
        /// Salt of the bucketing.
        salt: String,
        /// No longer in use.
        archived: bool,
        /// Who last changed it.
        changed_by: String,
        /// The reason.
        reason: String,
        /// The rollout that made the last change; empty if a person made it directly.
        rollout: String,
        /// When it was defined.
        defined_at: Option<Timestamp>,
        /// When it was last changed.
        changed_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// One change of a flag.
    FlagHistoryRow, table "flag_history", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The environment.
        environment: String,
        /// The flag's key.
        key: String,
        /// The kind of change.
        change: FlagChangeKind,
        /// The setting before; absent for a definition.
        before: Option<Json<FlagSetting>>,
        /// The setting after; absent when archived.
        after: Option<Json<FlagSetting>>,
        /// The reason.
        reason: String,
        /// The rollout that made the change; empty if a person made it directly.
        rollout: String,
        /// The step that made the change.
        step: String,
        /// Who changed it.
        changed_by: String,
        /// How the identity was authenticated.
        authentication: String,
        /// When it was changed.
        changed_at: Option<Timestamp>,
    }
);

view_row!(
    /// A stakeholder message.
    NoticeRow, table "notices", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// Its id in the plan.
        notice: String,
        /// The channel.
        channel: String,
        /// Whether it was sent.
        verdict: Option<Verdict>,
        /// What was sent, or why it was not.
        message: String,
        /// When it was sent.
        sent_at: Option<Timestamp>,
    }
);

view_row!(
    /// A rollback point of a rollout.
    RollbackPointRow, table "rollback_points", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// Its id.
        point: String,
        /// The phase it precedes.
        phase: String,
        /// What it holds.
        description: String,
        /// When it was recorded.
        made_at: Option<Timestamp>,
    }
);

view_row!(
    /// A rollback.
    RollbackRow, table "rollbacks", key 2, {
        /// The rollout.
        rollout: String,
        /// Its id.
        rollback: String,
        /// The level.
        level: Option<RollbackLevel>,
        /// The reason.
        reason: String,
        /// The steps undone, in the order of execution.
        undo_steps: Json<Vec<String>>,
        /// Steps of its level that were running when it started.
        running: Json<Vec<String>>,
        /// Effects that it leaves in place, with the reasons, as of its start.
        left: Json<Vec<EffectLeft>>,
        /// Undone steps for which nothing could verify that the effect is gone.
        not_verified: Json<Vec<String>>,
        /// Who started it.
        started_by: String,
        /// When it started.
        started_at: Option<Timestamp>,
        /// When it finished; absent while in progress.
        finished_at: Option<Timestamp>,
        /// The result; absent while in progress.
        verdict: Option<Verdict>,
        /// A summary of what was done.
        summary: String,
        /// Sequence of the commit that started it.
        started_sequence: u64,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// The decision tree's advice.
    AdviceRow, table "advice", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// The rollout.
        rollout: String,
        /// The decision tree's rule.
        rule: String,
        /// The advice.
        advice: String,
        /// The inputs and their values.
        inputs: Json<Vec<String>>,
        /// The plan acts on it automatically.
        automatic: bool,
        /// When it was given.
        given_at: Option<Timestamp>,
    }
);

view_row!(
    /// The health of a rollout.
    HealthRow, table "health", key 1, {
        /// The rollout.
        rollout: String,
        /// Status of the score.
        status: Health,
        /// 0 to 100; absent with `NO_DATA`.
        score: Option<u32>,
        /// Every reason why the score is below 100.
        deductions: Json<Vec<Deduction>>,
        /// When it last changed.
        changed_at: Option<Timestamp>,
        /// Sequence of the commit that last changed this row.
        updated_sequence: u64,
    }
);

view_row!(
    /// One event of the timeline, described in a sentence.
    TimelineRow, table "timeline", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// When it was recorded.
        recorded_at: Option<Timestamp>,
        /// The actor.
        actor: String,
        /// The event's type, such as `step_finished`.
        event: String,
        /// The rollout it concerns; empty for a flag set directly.
        rollout: String,
        /// The aggregate it belongs to: `rollout <id>` or `flag <environment>/<key>`.
        aggregate: String,
        /// The step, gate or other part it concerns; may be empty.
        subject: String,
        /// One readable sentence.
        sentence: String,
    }
);

view_row!(
    /// An event that is inconsistent with the history before it; reported, never reinterpreted.
    AnomalyRow, table "anomalies", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// When it was recorded.
        recorded_at: Option<Timestamp>,
        /// The aggregate it belongs to.
        aggregate: String,
        /// The event's type.
        event: String,
        /// What is inconsistent.
        reason: String,
    }
);
