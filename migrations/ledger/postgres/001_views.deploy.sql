-- The views of one ledger, PostgreSQL. Run with search_path set to their schema.
-- Times are RFC 3339 UTC text with six decimals and structured values are JSON text, byte for
-- byte what the SQLite views hold: cast with ::timestamptz or ::jsonb where SQL needs it.
-- COLLATE "C": order by bytes, as SQLite does.

-- What is applied: one row.
CREATE TABLE view_position (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    recorded_at TEXT,
    -- Whose commit stands there, and which: compared with the ledger at start.
    ledger TEXT NOT NULL,
    commit_id TEXT NOT NULL
);

-- Rollouts that the orchestrator found over, and as of which sequence. A note, no view of the ledger:
-- without it everything is looked at again.
CREATE TABLE rollouts_over (
    rollout TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL
);

-- A rollout.
CREATE TABLE rollouts (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "runbook" TEXT COLLATE "C" NOT NULL,
    "runbook_version" TEXT COLLATE "C" NOT NULL,
    "plan_digest" TEXT COLLATE "C" NOT NULL,
    "revision" BIGINT NOT NULL,
    "revision_accepted" BOOLEAN NOT NULL,
    "environment" TEXT COLLATE "C" NOT NULL,
    "protected" BOOLEAN NOT NULL,
    "params" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    "outcome" TEXT COLLATE "C",
    "summary" TEXT COLLATE "C" NOT NULL,
    "current_phase" TEXT COLLATE "C",
    "health" TEXT COLLATE "C" NOT NULL,
    "health_score" BIGINT,
    "open_reviews" BIGINT NOT NULL,
    "opened_by" TEXT COLLATE "C" NOT NULL,
    "opened_at" TEXT COLLATE "C",
    "started_at" TEXT COLLATE "C",
    "closed_at" TEXT COLLATE "C",
    "opened_sequence" BIGINT NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout")
);

-- A phase of a rollout.
CREATE TABLE phases (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "phase" TEXT COLLATE "C" NOT NULL,
    "position" BIGINT NOT NULL,
    "title" TEXT COLLATE "C" NOT NULL,
    "gate" BOOLEAN NOT NULL,
    "dropped" BOOLEAN NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "phase")
);

-- A step of a rollout, at its latest attempt.
CREATE TABLE steps (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "phase" TEXT COLLATE "C" NOT NULL,
    "position" BIGINT NOT NULL,
    "title" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "critical" BOOLEAN NOT NULL,
    "dropped" BOOLEAN NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "attempt" BIGINT NOT NULL,
    "verdict" TEXT COLLATE "C",
    "rule" TEXT COLLATE "C" NOT NULL,
    "message" TEXT COLLATE "C" NOT NULL,
    "worker" TEXT COLLATE "C" NOT NULL,
    "intent" TEXT COLLATE "C" NOT NULL,
    "started_at" TEXT COLLATE "C",
    "finished_at" TEXT COLLATE "C",
    "duration_ms" BIGINT,
    "not_before" TEXT COLLATE "C",
    "by_verification" BOOLEAN NOT NULL,
    "effect" BOOLEAN NOT NULL,
    "partial" TEXT COLLATE "C" NOT NULL,
    "checklist" TEXT COLLATE "C" NOT NULL,
    "evidence" TEXT COLLATE "C" NOT NULL,
    "measurements" TEXT COLLATE "C" NOT NULL,
    "undo_verdict" TEXT COLLATE "C",
    "undo_verification" TEXT COLLATE "C",
    "undo_message" TEXT COLLATE "C" NOT NULL,
    "undo_partial" TEXT COLLATE "C" NOT NULL,
    "undo_finished_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "step")
);

-- One measured value of a step, for charts and reports.
CREATE TABLE measurements (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "ordinal" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "attempt" BIGINT NOT NULL,
    "metric" TEXT COLLATE "C" NOT NULL,
    "value" DOUBLE PRECISION,
    "decimal" TEXT COLLATE "C",
    "text" TEXT COLLATE "C" NOT NULL,
    "unit" TEXT COLLATE "C" NOT NULL,
    "rule" TEXT COLLATE "C" NOT NULL,
    "verdict" TEXT COLLATE "C",
    "measured_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx", "ordinal")
);

-- A gate, the end of a phase.
CREATE TABLE gates (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "gate" TEXT COLLATE "C" NOT NULL,
    "position" BIGINT NOT NULL,
    "title" TEXT COLLATE "C" NOT NULL,
    "dropped" BOOLEAN NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "reasons" TEXT COLLATE "C" NOT NULL,
    "decided_at" TEXT COLLATE "C",
    "decided_by" TEXT COLLATE "C" NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "gate")
);

-- A sign-off or a refusal.
CREATE TABLE sign_offs (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "gate" TEXT COLLATE "C" NOT NULL,
    "person" TEXT COLLATE "C" NOT NULL,
    "authentication" TEXT COLLATE "C" NOT NULL,
    "role" TEXT COLLATE "C" NOT NULL,
    "on_behalf_of" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "statement" TEXT COLLATE "C" NOT NULL,
    "plan_digest" TEXT COLLATE "C" NOT NULL,
    "evidence_seen" TEXT COLLATE "C" NOT NULL,
    "given_at" TEXT COLLATE "C",
    "expires_at" TEXT COLLATE "C",
    "voided_cause" TEXT COLLATE "C" NOT NULL,
    "voided_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("sequence", "idx")
);

-- A flag in one environment.
CREATE TABLE flags (
    "environment" TEXT COLLATE "C" NOT NULL,
    "key" TEXT COLLATE "C" NOT NULL,
    "description" TEXT COLLATE "C" NOT NULL,
    "owner" TEXT COLLATE "C" NOT NULL,
    "mode" TEXT COLLATE "C" NOT NULL,
    "setting" TEXT COLLATE "C" NOT NULL,
    "safe" TEXT COLLATE "C" NOT NULL,
    "retire_by" TEXT COLLATE "C" NOT NULL,
    "bucketing" TEXT COLLATE "C" NOT NULL,
    "salt" TEXT COLLATE "C" NOT NULL,
    "archived" BOOLEAN NOT NULL,
    "changed_by" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "defined_at" TEXT COLLATE "C",
    "changed_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("environment", "key")
);

-- One change of a flag.
CREATE TABLE flag_history (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "environment" TEXT COLLATE "C" NOT NULL,
    "key" TEXT COLLATE "C" NOT NULL,
    "change" TEXT COLLATE "C" NOT NULL,
    "before" TEXT COLLATE "C",
    "after" TEXT COLLATE "C",
    "reason" TEXT COLLATE "C" NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "changed_by" TEXT COLLATE "C" NOT NULL,
    "authentication" TEXT COLLATE "C" NOT NULL,
    "changed_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- A snapshot.
CREATE TABLE snapshots (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "snapshot" TEXT COLLATE "C" NOT NULL,
    "label" TEXT COLLATE "C" NOT NULL,
    "manifest" TEXT COLLATE "C" NOT NULL,
    "deals" BIGINT NOT NULL,
    "errors" BIGINT NOT NULL,
    "model_digest" TEXT COLLATE "C" NOT NULL,
    "flags_sequence" BIGINT NOT NULL,
    "flags" TEXT COLLATE "C" NOT NULL,
    "taken_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- A comparison of two snapshots.
CREATE TABLE comparisons (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "snapshot" TEXT COLLATE "C" NOT NULL,
    "before_manifest" TEXT COLLATE "C" NOT NULL,
    "after_manifest" TEXT COLLATE "C" NOT NULL,
    "result" TEXT COLLATE "C" NOT NULL,
    "compared" BIGINT NOT NULL,
    "equal" BIGINT NOT NULL,
    "regressions" BIGINT NOT NULL,
    "warnings" BIGINT NOT NULL,
    "expected" BIGINT NOT NULL,
    "ignored" BIGINT NOT NULL,
    "missing" BIGINT NOT NULL,
    "added" BIGINT NOT NULL,
    "within_tolerance" BIGINT NOT NULL,
    "unexpected" BIGINT NOT NULL,
    "errors" BIGINT NOT NULL,
    "type_changed" BIGINT NOT NULL,
    "verdict" TEXT COLLATE "C",
    "totals" TEXT COLLATE "C" NOT NULL,
    "by_type" TEXT COLLATE "C" NOT NULL,
    "superseded_by" BIGINT,
    "made_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("sequence", "idx")
);

-- One of the worst regressions of a comparison (at most 20; all are in its result).
CREATE TABLE regressions (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "ordinal" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "snapshot" TEXT COLLATE "C" NOT NULL,
    "deal_id" TEXT COLLATE "C" NOT NULL,
    "deal_type" TEXT COLLATE "C" NOT NULL,
    "judged_as" TEXT COLLATE "C" NOT NULL,
    "metric" TEXT COLLATE "C" NOT NULL,
    "before" BIGINT,
    "after" BIGINT,
    "before_text" TEXT COLLATE "C",
    "after_text" TEXT COLLATE "C",
    "rule" TEXT COLLATE "C" NOT NULL,
    "threshold" TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY ("sequence", "idx", "ordinal")
);

-- A deal-type audit.
CREATE TABLE audits (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "total" BIGINT NOT NULL,
    "active" BIGINT NOT NULL,
    "deleted" BIGINT NOT NULL,
    "null_count" BIGINT NOT NULL,
    "invalid_count" BIGINT NOT NULL,
    "distribution" TEXT COLLATE "C" NOT NULL,
    "health_permille" BIGINT NOT NULL,
    "health" TEXT COLLATE "C" NOT NULL,
    "report" TEXT COLLATE "C" NOT NULL,
    "taken_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- An alert of a monitor.
CREATE TABLE alerts (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "alert" TEXT COLLATE "C" NOT NULL,
    "severity" TEXT COLLATE "C" NOT NULL,
    "step" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "raised" TEXT COLLATE "C" NOT NULL,
    "raised_at" TEXT COLLATE "C",
    "resolved" TEXT COLLATE "C",
    "resolved_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("sequence", "idx")
);

-- A success metric of the plan.
CREATE TABLE success_metrics (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "metric" TEXT COLLATE "C" NOT NULL,
    "position" BIGINT NOT NULL,
    "target" TEXT COLLATE "C" NOT NULL,
    "actual" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C",
    "recorded_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "metric")
);

-- A stakeholder message.
CREATE TABLE notices (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "notice" TEXT COLLATE "C" NOT NULL,
    "channel" TEXT COLLATE "C" NOT NULL,
    "verdict" TEXT COLLATE "C",
    "message" TEXT COLLATE "C" NOT NULL,
    "sent_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- A point a rollout can be taken back to.
CREATE TABLE rollback_points (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "point" TEXT COLLATE "C" NOT NULL,
    "phase" TEXT COLLATE "C" NOT NULL,
    "description" TEXT COLLATE "C" NOT NULL,
    "made_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- A rollback.
CREATE TABLE rollbacks (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "rollback" TEXT COLLATE "C" NOT NULL,
    "level" TEXT COLLATE "C",
    "reason" TEXT COLLATE "C" NOT NULL,
    "undo_steps" TEXT COLLATE "C" NOT NULL,
    "running" TEXT COLLATE "C" NOT NULL,
    "left" TEXT COLLATE "C" NOT NULL,
    "not_verified" TEXT COLLATE "C" NOT NULL,
    "started_by" TEXT COLLATE "C" NOT NULL,
    "started_at" TEXT COLLATE "C",
    "finished_at" TEXT COLLATE "C",
    "verdict" TEXT COLLATE "C",
    "summary" TEXT COLLATE "C" NOT NULL,
    "started_sequence" BIGINT NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "rollback")
);

-- The decision tree's advice.
CREATE TABLE advice (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "rule" TEXT COLLATE "C" NOT NULL,
    "advice" TEXT COLLATE "C" NOT NULL,
    "inputs" TEXT COLLATE "C" NOT NULL,
    "automatic" BOOLEAN NOT NULL,
    "given_at" TEXT COLLATE "C",
    PRIMARY KEY ("sequence", "idx")
);

-- The health of a rollout.
CREATE TABLE health (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "score" BIGINT,
    "deductions" TEXT COLLATE "C" NOT NULL,
    "changed_at" TEXT COLLATE "C",
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout")
);

-- One event, readable.
CREATE TABLE timeline (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "recorded_at" TEXT COLLATE "C",
    "actor" TEXT COLLATE "C" NOT NULL,
    "event" TEXT COLLATE "C" NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "aggregate" TEXT COLLATE "C" NOT NULL,
    "subject" TEXT COLLATE "C" NOT NULL,
    "sentence" TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY ("sequence", "idx")
);

-- An event that does not make sense where it stands: reported, never guessed at.
CREATE TABLE anomalies (
    "sequence" BIGINT NOT NULL,
    "idx" BIGINT NOT NULL,
    "recorded_at" TEXT COLLATE "C",
    "aggregate" TEXT COLLATE "C" NOT NULL,
    "event" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY ("sequence", "idx")
);

-- A worker, as of its last joining or leaving.
CREATE TABLE workers (
    "worker" TEXT COLLATE "C" NOT NULL,
    "session" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "labels" TEXT COLLATE "C" NOT NULL,
    "concurrency" BIGINT NOT NULL,
    "threads" BIGINT NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "started_at" TEXT COLLATE "C",
    "joined_at" TEXT COLLATE "C",
    "left_at" TEXT COLLATE "C",
    "joins" BIGINT NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("worker")
);

-- An environment, as of the terms in force.
CREATE TABLE environments (
    "environment" TEXT COLLATE "C" NOT NULL,
    "protected" BOOLEAN NOT NULL,
    "terms" TEXT COLLATE "C" NOT NULL,
    "revision" BIGINT NOT NULL,
    "pending" TEXT COLLATE "C" NOT NULL,
    "changed_by" TEXT COLLATE "C" NOT NULL,
    "changed_at" TEXT COLLATE "C",
    "reason" TEXT COLLATE "C" NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("environment")
);

-- A changed plan of a rollout.
CREATE TABLE revisions (
    "rollout" TEXT COLLATE "C" NOT NULL,
    "revision" BIGINT NOT NULL,
    "plan_digest" TEXT COLLATE "C" NOT NULL,
    "status" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    "proposed_by" TEXT COLLATE "C" NOT NULL,
    "proposed_at" TEXT COLLATE "C",
    "decided_by" TEXT COLLATE "C" NOT NULL,
    "decided_at" TEXT COLLATE "C",
    "difference" TEXT COLLATE "C" NOT NULL,
    "changes" BIGINT NOT NULL,
    "difference_sha256" TEXT COLLATE "C" NOT NULL,
    "difference_bytes" BIGINT NOT NULL,
    "params" TEXT COLLATE "C" NOT NULL,
    "outline" TEXT COLLATE "C" NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("rollout", "revision")
);

-- What waits or waited for another person: a request to confirm, or a review of broken glass.
CREATE TABLE requests (
    "aggregate" TEXT COLLATE "C" NOT NULL,
    "request" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "rollout" TEXT COLLATE "C" NOT NULL,
    "environment" TEXT COLLATE "C" NOT NULL,
    "flag" TEXT COLLATE "C" NOT NULL,
    "verb" TEXT COLLATE "C" NOT NULL,
    "what" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    "rule" TEXT COLLATE "C" NOT NULL,
    "made_by" TEXT COLLATE "C" NOT NULL,
    "made_at" TEXT COLLATE "C",
    "due_at" TEXT COLLATE "C",
    "status" TEXT COLLATE "C" NOT NULL,
    "ended_by" TEXT COLLATE "C" NOT NULL,
    "ended_at" TEXT COLLATE "C",
    "note" TEXT COLLATE "C" NOT NULL,
    "made_sequence" BIGINT NOT NULL,
    "updated_sequence" BIGINT NOT NULL,
    PRIMARY KEY ("aggregate", "request")
);
