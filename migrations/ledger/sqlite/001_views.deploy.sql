-- The views of one ledger, SQLite.
-- Times are RFC 3339 UTC text with six decimals and structured values are JSON text, byte for
-- byte what the PostgreSQL views hold. Truth values are 0 and 1.
-- WITHOUT ROWID: a row lives in its primary key's tree, so it is written once.

-- What is applied: one row.
CREATE TABLE view_position (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    recorded_at TEXT,
    -- Whose commit stands there, and which: compared with the ledger at start.
    ledger TEXT NOT NULL,
    commit_id TEXT NOT NULL
) STRICT;

-- Rollouts that the orchestrator found over, and as of which sequence. A note, no view of the ledger:
-- without it everything is looked at again.
CREATE TABLE rollouts_over (
    rollout TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A rollout.
CREATE TABLE rollouts (
    "rollout" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "runbook" TEXT NOT NULL,
    "runbook_version" TEXT NOT NULL,
    "plan_digest" TEXT NOT NULL,
    "revision" INTEGER NOT NULL,
    "revision_accepted" INTEGER NOT NULL,
    "environment" TEXT NOT NULL,
    "protected" INTEGER NOT NULL,
    "params" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "outcome" TEXT,
    "summary" TEXT NOT NULL,
    "current_phase" TEXT,
    "health" TEXT NOT NULL,
    "health_score" INTEGER,
    "open_reviews" INTEGER NOT NULL,
    "opened_by" TEXT NOT NULL,
    "opened_at" TEXT,
    "started_at" TEXT,
    "closed_at" TEXT,
    "opened_sequence" INTEGER NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout")
) STRICT, WITHOUT ROWID;

-- A phase of a rollout.
CREATE TABLE phases (
    "rollout" TEXT NOT NULL,
    "phase" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "title" TEXT NOT NULL,
    "gate" INTEGER NOT NULL,
    "dropped" INTEGER NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "phase")
) STRICT, WITHOUT ROWID;

-- A step of a rollout, at its latest attempt.
CREATE TABLE steps (
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "phase" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "title" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "critical" INTEGER NOT NULL,
    "dropped" INTEGER NOT NULL,
    "status" TEXT NOT NULL,
    "attempt" INTEGER NOT NULL,
    "verdict" TEXT,
    "rule" TEXT NOT NULL,
    "message" TEXT NOT NULL,
    "worker" TEXT NOT NULL,
    "intent" TEXT NOT NULL,
    "started_at" TEXT,
    "finished_at" TEXT,
    "duration_ms" INTEGER,
    "not_before" TEXT,
    "by_verification" INTEGER NOT NULL,
    "effect" INTEGER NOT NULL,
    "partial" TEXT NOT NULL,
    "checklist" TEXT NOT NULL,
    "evidence" TEXT NOT NULL,
    "measurements" TEXT NOT NULL,
    "undo_verdict" TEXT,
    "undo_verification" TEXT,
    "undo_message" TEXT NOT NULL,
    "undo_partial" TEXT NOT NULL,
    "undo_finished_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "step")
) STRICT, WITHOUT ROWID;

-- One measured value of a step, for charts and reports.
CREATE TABLE measurements (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "attempt" INTEGER NOT NULL,
    "metric" TEXT NOT NULL,
    "value" REAL,
    "decimal" TEXT,
    "text" TEXT NOT NULL,
    "unit" TEXT NOT NULL,
    "rule" TEXT NOT NULL,
    "verdict" TEXT,
    "measured_at" TEXT,
    PRIMARY KEY ("sequence", "idx", "ordinal")
) STRICT, WITHOUT ROWID;

-- A gate, the end of a phase.
CREATE TABLE gates (
    "rollout" TEXT NOT NULL,
    "gate" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "title" TEXT NOT NULL,
    "dropped" INTEGER NOT NULL,
    "status" TEXT NOT NULL,
    "reasons" TEXT NOT NULL,
    "decided_at" TEXT,
    "decided_by" TEXT NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "gate")
) STRICT, WITHOUT ROWID;

-- A sign-off or a refusal.
CREATE TABLE sign_offs (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "gate" TEXT NOT NULL,
    "person" TEXT NOT NULL,
    "authentication" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "on_behalf_of" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "statement" TEXT NOT NULL,
    "plan_digest" TEXT NOT NULL,
    "evidence_seen" TEXT NOT NULL,
    "given_at" TEXT,
    "expires_at" TEXT,
    "voided_cause" TEXT NOT NULL,
    "voided_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A flag in one environment.
CREATE TABLE flags (
    "environment" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "owner" TEXT NOT NULL,
    "mode" TEXT NOT NULL,
    "setting" TEXT NOT NULL,
    "safe" TEXT NOT NULL,
    "retire_by" TEXT NOT NULL,
    "bucketing" TEXT NOT NULL,
    "salt" TEXT NOT NULL,
    "archived" INTEGER NOT NULL,
    "changed_by" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "rollout" TEXT NOT NULL,
    "defined_at" TEXT,
    "changed_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("environment", "key")
) STRICT, WITHOUT ROWID;

-- One change of a flag.
CREATE TABLE flag_history (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "environment" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "change" TEXT NOT NULL,
    "before" TEXT,
    "after" TEXT,
    "reason" TEXT NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "changed_by" TEXT NOT NULL,
    "authentication" TEXT NOT NULL,
    "changed_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A snapshot.
CREATE TABLE snapshots (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "snapshot" TEXT NOT NULL,
    "label" TEXT NOT NULL,
    "manifest" TEXT NOT NULL,
    "deals" INTEGER NOT NULL,
    "errors" INTEGER NOT NULL,
    "model_digest" TEXT NOT NULL,
    "flags_sequence" INTEGER NOT NULL,
    "flags" TEXT NOT NULL,
    "taken_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A comparison of two snapshots.
CREATE TABLE comparisons (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "snapshot" TEXT NOT NULL,
    "before_manifest" TEXT NOT NULL,
    "after_manifest" TEXT NOT NULL,
    "result" TEXT NOT NULL,
    "compared" INTEGER NOT NULL,
    "equal" INTEGER NOT NULL,
    "regressions" INTEGER NOT NULL,
    "warnings" INTEGER NOT NULL,
    "expected" INTEGER NOT NULL,
    "ignored" INTEGER NOT NULL,
    "missing" INTEGER NOT NULL,
    "added" INTEGER NOT NULL,
    "within_tolerance" INTEGER NOT NULL,
    "unexpected" INTEGER NOT NULL,
    "errors" INTEGER NOT NULL,
    "type_changed" INTEGER NOT NULL,
    "verdict" TEXT,
    "totals" TEXT NOT NULL,
    "by_type" TEXT NOT NULL,
    "superseded_by" INTEGER,
    "made_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- One of the worst regressions of a comparison (at most 20; all are in its result).
CREATE TABLE regressions (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "snapshot" TEXT NOT NULL,
    "deal_id" TEXT NOT NULL,
    "deal_type" TEXT NOT NULL,
    "judged_as" TEXT NOT NULL,
    "metric" TEXT NOT NULL,
    "before" INTEGER,
    "after" INTEGER,
    "before_text" TEXT,
    "after_text" TEXT,
    "rule" TEXT NOT NULL,
    "threshold" TEXT NOT NULL,
    PRIMARY KEY ("sequence", "idx", "ordinal")
) STRICT, WITHOUT ROWID;

-- A deal-type audit.
CREATE TABLE audits (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "total" INTEGER NOT NULL,
    "active" INTEGER NOT NULL,
    "deleted" INTEGER NOT NULL,
    "null_count" INTEGER NOT NULL,
    "invalid_count" INTEGER NOT NULL,
    "distribution" TEXT NOT NULL,
    "health_permille" INTEGER NOT NULL,
    "health" TEXT NOT NULL,
    "report" TEXT NOT NULL,
    "taken_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- An alert of a monitor.
CREATE TABLE alerts (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "alert" TEXT NOT NULL,
    "severity" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "raised" TEXT NOT NULL,
    "raised_at" TEXT,
    "resolved" TEXT,
    "resolved_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A success metric of the plan.
CREATE TABLE success_metrics (
    "rollout" TEXT NOT NULL,
    "metric" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "target" TEXT NOT NULL,
    "actual" TEXT NOT NULL,
    "status" TEXT,
    "recorded_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "metric")
) STRICT, WITHOUT ROWID;

-- A stakeholder message.
CREATE TABLE notices (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "notice" TEXT NOT NULL,
    "channel" TEXT NOT NULL,
    "verdict" TEXT,
    "message" TEXT NOT NULL,
    "sent_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A point a rollout can be taken back to.
CREATE TABLE rollback_points (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "point" TEXT NOT NULL,
    "phase" TEXT NOT NULL,
    "description" TEXT NOT NULL,
    "made_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A rollback.
CREATE TABLE rollbacks (
    "rollout" TEXT NOT NULL,
    "rollback" TEXT NOT NULL,
    "level" TEXT,
    "reason" TEXT NOT NULL,
    "undo_steps" TEXT NOT NULL,
    "running" TEXT NOT NULL,
    "left" TEXT NOT NULL,
    "not_verified" TEXT NOT NULL,
    "started_by" TEXT NOT NULL,
    "started_at" TEXT,
    "finished_at" TEXT,
    "verdict" TEXT,
    "summary" TEXT NOT NULL,
    "started_sequence" INTEGER NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "rollback")
) STRICT, WITHOUT ROWID;

-- The decision tree's advice.
CREATE TABLE advice (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "rollout" TEXT NOT NULL,
    "rule" TEXT NOT NULL,
    "advice" TEXT NOT NULL,
    "inputs" TEXT NOT NULL,
    "automatic" INTEGER NOT NULL,
    "given_at" TEXT,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- The health of a rollout.
CREATE TABLE health (
    "rollout" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "score" INTEGER,
    "deductions" TEXT NOT NULL,
    "changed_at" TEXT,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout")
) STRICT, WITHOUT ROWID;

-- One event, readable.
CREATE TABLE timeline (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "recorded_at" TEXT,
    "actor" TEXT NOT NULL,
    "event" TEXT NOT NULL,
    "rollout" TEXT NOT NULL,
    "aggregate" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "sentence" TEXT NOT NULL,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- An event that does not make sense where it stands: reported, never guessed at.
CREATE TABLE anomalies (
    "sequence" INTEGER NOT NULL,
    "idx" INTEGER NOT NULL,
    "recorded_at" TEXT,
    "aggregate" TEXT NOT NULL,
    "event" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    PRIMARY KEY ("sequence", "idx")
) STRICT, WITHOUT ROWID;

-- A worker, as of its last joining or leaving.
CREATE TABLE workers (
    "worker" TEXT NOT NULL,
    "session" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "labels" TEXT NOT NULL,
    "concurrency" INTEGER NOT NULL,
    "threads" INTEGER NOT NULL,
    "version" TEXT NOT NULL,
    "started_at" TEXT,
    "joined_at" TEXT,
    "left_at" TEXT,
    "joins" INTEGER NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("worker")
) STRICT, WITHOUT ROWID;

-- An environment, as of the terms in force.
CREATE TABLE environments (
    "environment" TEXT NOT NULL,
    "protected" INTEGER NOT NULL,
    "terms" TEXT NOT NULL,
    "revision" INTEGER NOT NULL,
    "pending" TEXT NOT NULL,
    "changed_by" TEXT NOT NULL,
    "changed_at" TEXT,
    "reason" TEXT NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("environment")
) STRICT, WITHOUT ROWID;

-- A changed plan of a rollout.
CREATE TABLE revisions (
    "rollout" TEXT NOT NULL,
    "revision" INTEGER NOT NULL,
    "plan_digest" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "proposed_by" TEXT NOT NULL,
    "proposed_at" TEXT,
    "decided_by" TEXT NOT NULL,
    "decided_at" TEXT,
    "difference" TEXT NOT NULL,
    "changes" INTEGER NOT NULL,
    "difference_sha256" TEXT NOT NULL,
    "difference_bytes" INTEGER NOT NULL,
    "params" TEXT NOT NULL,
    "outline" TEXT NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("rollout", "revision")
) STRICT, WITHOUT ROWID;

-- What waits or waited for another person: a request to confirm, or a review of broken glass.
CREATE TABLE requests (
    "aggregate" TEXT NOT NULL,
    "request" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "rollout" TEXT NOT NULL,
    "environment" TEXT NOT NULL,
    "flag" TEXT NOT NULL,
    "verb" TEXT NOT NULL,
    "what" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "rule" TEXT NOT NULL,
    "made_by" TEXT NOT NULL,
    "made_at" TEXT,
    "due_at" TEXT,
    "status" TEXT NOT NULL,
    "ended_by" TEXT NOT NULL,
    "ended_at" TEXT,
    "note" TEXT NOT NULL,
    "made_sequence" INTEGER NOT NULL,
    "updated_sequence" INTEGER NOT NULL,
    PRIMARY KEY ("aggregate", "request")
) STRICT, WITHOUT ROWID;
