//! Rows of a rollout's course: the plan, what people and workers did, flags, the timeline.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::projection::row::{Json, view_row};
use crate::projection::words::{
    ChecklistItem, Deduction, EffectLeft, EvidenceRef, FlagChangeKind, FlagMode, FlagSetting,
    GateStatus, Health, Measured, Outcome, PartialEffect, RolloutStatus, SignOffStatus, StepStatus,
    UndoVerification, Verdict,
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
        /// Revision of the plan in force, from 1: the plan it was opened with.
        revision: u32,
        /// Whether no later revision waits to be accepted.
        revision_accepted: bool,
        /// Where it runs.
        environment: String,
        /// The environment is protected.
        protected: bool,
        /// Effective parameters.
        params: Json<BTreeMap<String, String>>,
        /// Where it stands.
        status: RolloutStatus,
        /// Why it was paused, resumed or aborted last; empty when never.
        reason: String,
        /// How it ended; absent before, and while an end is being taken back.
        outcome: Option<Outcome>,
        /// The closing summary.
        summary: String,
        /// The first phase that is not complete; absent when all are.
        current_phase: Option<String>,
        /// Health status.
        health: Health,
        /// Health score, 0 to 100; absent with `NO_DATA`.
        health_score: Option<u32>,
        /// Reviews of broken glass that somebody else has yet to close.
        open_reviews: u32,
        /// Who opened it.
        opened_by: String,
        /// When it was opened.
        opened_at: Option<Timestamp>,
        /// When it was started.
        started_at: Option<Timestamp>,
        /// When it was closed; absent while an end is being taken back.
        closed_at: Option<Timestamp>,
        /// Sequence of the commit that opened it.
        opened_sequence: u64,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A phase of a rollout.
    PhaseRow, table "phases", key 2, {
        /// Whose phase.
        rollout: String,
        /// Its id.
        phase: String,
        /// Its place in the plan, from 0.
        position: u32,
        /// Its title.
        title: String,
        /// It ends in a gate of the same id.
        gate: bool,
        /// A later revision of the plan no longer has it.
        dropped: bool,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A step of a rollout, at its latest attempt.
    StepRow, table "steps", key 2, {
        /// Whose step.
        rollout: String,
        /// Its id.
        step: String,
        /// Its phase.
        phase: String,
        /// Its place in the plan, from 0 over all phases.
        position: u32,
        /// Its title.
        title: String,
        /// Its kind, such as `sql`.
        kind: String,
        /// A failure stops the rollout.
        critical: bool,
        /// A later revision of the plan no longer has it.
        dropped: bool,
        /// Where it stands.
        status: StepStatus,
        /// The latest attempt, from 1; 0 before the first.
        attempt: u32,
        /// The verdict of the latest finished attempt.
        verdict: Option<Verdict>,
        /// The rule that gave the verdict.
        rule: String,
        /// The reason of the verdict, with numbers; or why it was skipped, retried, interrupted.
        message: String,
        /// Who executes or executed it.
        worker: String,
        /// What runs or ran, redacted.
        intent: String,
        /// When the latest attempt started.
        started_at: Option<Timestamp>,
        /// When the latest attempt finished, was skipped or interrupted.
        finished_at: Option<Timestamp>,
        /// How long the latest finished attempt took, as its worker measured.
        duration_ms: Option<u64>,
        /// The next attempt does not start before this time.
        not_before: Option<Timestamp>,
        /// After a crash the step's verify passed; the action was not repeated.
        by_verification: bool,
        /// It changed something that undo must take back.
        effect: bool,
        /// How much of it, where the latest finished attempt stopped between its parts.
        partial: Json<Option<PartialEffect>>,
        /// Checklist answers of a manual step.
        checklist: Json<Vec<ChecklistItem>>,
        /// Evidence of the latest finished attempt.
        evidence: Json<Vec<EvidenceRef>>,
        /// The latest value of each metric of the latest attempt; all samples are in
        /// `measurements`.
        measurements: Json<Vec<Measured>>,
        /// The verdict of its undo.
        undo_verdict: Option<Verdict>,
        /// Whether something other than the undo looked afterwards; absent before, and for undos
        /// that were recorded before they were verified.
        undo_verification: Option<UndoVerification>,
        /// What its undo said.
        undo_message: String,
        /// What its undo did, where it stopped between its parts.
        undo_partial: Json<Option<PartialEffect>>,
        /// When its undo finished.
        undo_finished_at: Option<Timestamp>,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A gate, the end of a phase.
    GateRow, table "gates", key 2, {
        /// Whose gate.
        rollout: String,
        /// Its id, the phase's.
        gate: String,
        /// The phase's place in the plan.
        position: u32,
        /// The phase's title.
        title: String,
        /// A later revision of the plan no longer has it.
        dropped: bool,
        /// Where it stands.
        status: GateStatus,
        /// Why it passed or is blocked.
        reasons: Json<Vec<String>>,
        /// When it was decided last.
        decided_at: Option<Timestamp>,
        /// By whom.
        decided_by: String,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A sign-off or a refusal.
    SignOffRow, table "sign_offs", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// Whose gate.
        rollout: String,
        /// Which gate.
        gate: String,
        /// Who.
        person: String,
        /// How that was established.
        authentication: String,
        /// In which role.
        role: String,
        /// Whom the person acted for; empty: themselves.
        on_behalf_of: String,
        /// Whether it counts.
        status: SignOffStatus,
        /// The statement given, or the reason of a refusal.
        statement: String,
        /// The plan that was signed off.
        plan_digest: String,
        /// Digests of the evidence the person was shown.
        evidence_seen: Json<Vec<String>>,
        /// When.
        given_at: Option<Timestamp>,
        /// Until when it counts; absent: without end.
        expires_at: Option<Timestamp>,
        /// Why it no longer counts; empty while it does.
        voided_cause: String,
        /// Since when it no longer counts.
        voided_at: Option<Timestamp>,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// A flag in one environment.
    FlagRow, table "flags", key 2, {
        /// Where.
        environment: String,
        /// The key applications ask for.
        key: String,
        /// What it is for.
        description: String,
        /// Who answers for it.
        owner: String,
        /// What it does now.
        mode: FlagMode,
        /// The whole setting now.
        setting: Json<FlagSetting>,
        /// What an instant rollback writes.
        safe: Json<FlagSetting>,
        /// RFC 3339 date; empty: permanent.
        retire_by: String,
        /// Name of the bucketing algorithm.
        bucketing: String,
        /// Salt of the bucketing.
        salt: String,
        /// No longer in use.
        archived: bool,
        /// Who changed it last.
        changed_by: String,
        /// Why.
        reason: String,
        /// The rollout that asked for the last change; empty: a person did directly.
        rollout: String,
        /// When it was defined.
        defined_at: Option<Timestamp>,
        /// When it was changed last.
        changed_at: Option<Timestamp>,
        /// Sequence of the commit that changed this row last.
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
        /// Where.
        environment: String,
        /// Which flag.
        key: String,
        /// What happened.
        change: FlagChangeKind,
        /// The setting before; absent for a definition.
        before: Option<Json<FlagSetting>>,
        /// The setting after; absent when archived.
        after: Option<Json<FlagSetting>>,
        /// Why.
        reason: String,
        /// The rollout that asked for it; empty: a person did directly.
        rollout: String,
        /// The step that asked for it.
        step: String,
        /// Who.
        changed_by: String,
        /// How that was established.
        authentication: String,
        /// When.
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
        /// In which rollout.
        rollout: String,
        /// Its id in the plan.
        notice: String,
        /// Through which channel.
        channel: String,
        /// Whether it went out.
        verdict: Option<Verdict>,
        /// What was sent, or why it was not.
        message: String,
        /// When.
        sent_at: Option<Timestamp>,
    }
);

view_row!(
    /// A point a rollout can be taken back to.
    RollbackPointRow, table "rollback_points", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// In which rollout.
        rollout: String,
        /// Its id.
        point: String,
        /// Before which phase.
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
        /// In which rollout.
        rollout: String,
        /// Its id.
        rollback: String,
        /// How much it takes back.
        level: Option<RollbackLevel>,
        /// Why.
        reason: String,
        /// The steps undone, in the order of execution.
        undo_steps: Json<Vec<String>>,
        /// Steps of its level that ran when it started.
        running: Json<Vec<String>>,
        /// Effects that it does not take back, and why, as it started.
        left: Json<Vec<EffectLeft>>,
        /// Steps undone where nothing could tell whether their effect is gone.
        not_verified: Json<Vec<String>>,
        /// Who started it.
        started_by: String,
        /// When.
        started_at: Option<Timestamp>,
        /// When it finished; absent: in progress.
        finished_at: Option<Timestamp>,
        /// Whether it worked; absent: in progress.
        verdict: Option<Verdict>,
        /// What was done.
        summary: String,
        /// Sequence of the commit that started it.
        started_sequence: u64,
        /// Sequence of the commit that changed this row last.
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
        /// In which rollout.
        rollout: String,
        /// Which rule of the tree.
        rule: String,
        /// What it advises.
        advice: String,
        /// The inputs and their values.
        inputs: Json<Vec<String>>,
        /// The plan says to act without a person.
        automatic: bool,
        /// When.
        given_at: Option<Timestamp>,
    }
);

view_row!(
    /// The health of a rollout.
    HealthRow, table "health", key 1, {
        /// Whose health.
        rollout: String,
        /// Status of the score.
        status: Health,
        /// 0 to 100; absent with `NO_DATA`.
        score: Option<u32>,
        /// Every reason why the score is below 100.
        deductions: Json<Vec<Deduction>>,
        /// Since when it is so.
        changed_at: Option<Timestamp>,
        /// Sequence of the commit that changed this row last.
        updated_sequence: u64,
    }
);

view_row!(
    /// One event, readable.
    TimelineRow, table "timeline", key 2, {
        /// Sequence of the commit.
        sequence: u64,
        /// Index of the event.
        idx: u32,
        /// When it was recorded.
        recorded_at: Option<Timestamp>,
        /// Who.
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
    /// An event that does not make sense where it stands: reported, never guessed at.
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
        /// What does not make sense.
        reason: String,
    }
);
