-- Fails when a table or a column is missing. Reads no row.
SELECT id, version, sequence, recorded_at FROM view_position WHERE 1 = 0;
SELECT
    "rollout", "name", "runbook", "runbook_version", "plan_digest", "revision",
    "revision_accepted", "environment", "protected", "params", "status", "resume_status",
    "reason", "outcome", "summary", "current_phase", "health", "health_score", "opened_by",
    "opened_at", "started_at", "closed_at", "opened_sequence", "updated_sequence"
FROM rollouts WHERE 1 = 0;
SELECT
    "rollout", "phase", "position", "title", "gate", "dropped", "updated_sequence"
FROM phases WHERE 1 = 0;
SELECT
    "rollout", "step", "phase", "position", "title", "kind", "critical", "dropped", "status",
    "attempt", "verdict", "rule", "message", "worker", "intent", "started_at", "finished_at",
    "duration_ms", "not_before", "by_verification", "effect", "checklist", "evidence",
    "measurements", "undo_verdict", "undo_message", "undo_finished_at", "updated_sequence"
FROM steps WHERE 1 = 0;
SELECT
    "sequence", "idx", "ordinal", "rollout", "step", "attempt", "metric", "value", "text",
    "unit", "rule", "verdict", "measured_at"
FROM measurements WHERE 1 = 0;
SELECT
    "rollout", "gate", "position", "title", "dropped", "status", "reasons", "decided_at",
    "decided_by", "updated_sequence"
FROM gates WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "gate", "person", "authentication", "role", "on_behalf_of",
    "status", "statement", "plan_digest", "evidence_seen", "given_at", "expires_at",
    "voided_cause", "voided_at", "updated_sequence"
FROM sign_offs WHERE 1 = 0;
SELECT
    "environment", "key", "description", "owner", "mode", "setting", "safe", "retire_by",
    "bucketing", "salt", "archived", "changed_by", "reason", "rollout", "defined_at",
    "changed_at", "updated_sequence"
FROM flags WHERE 1 = 0;
SELECT
    "sequence", "idx", "environment", "key", "change", "before", "after", "reason", "rollout",
    "step", "changed_by", "authentication", "changed_at"
FROM flag_history WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "step", "snapshot", "label", "manifest", "deals", "errors",
    "model_digest", "flags_sequence", "flags", "taken_at"
FROM snapshots WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "step", "snapshot", "before_manifest", "after_manifest",
    "result", "compared", "equal", "regressions", "warnings", "expected", "ignored", "missing",
    "added", "totals", "superseded_by", "made_at", "updated_sequence"
FROM comparisons WHERE 1 = 0;
SELECT
    "sequence", "idx", "ordinal", "rollout", "step", "snapshot", "deal_id", "deal_type",
    "metric", "before", "after", "rule", "threshold"
FROM regressions WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "step", "total", "active", "deleted", "null_count",
    "invalid_count", "distribution", "health_permille", "health", "report", "taken_at"
FROM audits WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "alert", "severity", "step", "status", "raised", "raised_at",
    "resolved", "resolved_at", "updated_sequence"
FROM alerts WHERE 1 = 0;
SELECT
    "rollout", "metric", "position", "target", "actual", "status", "recorded_at",
    "updated_sequence"
FROM success_metrics WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "notice", "channel", "verdict", "message", "sent_at"
FROM notices WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "point", "phase", "description", "made_at"
FROM rollback_points WHERE 1 = 0;
SELECT
    "rollout", "rollback", "level", "reason", "undo_steps", "started_by", "started_at",
    "finished_at", "verdict", "summary", "started_sequence", "updated_sequence"
FROM rollbacks WHERE 1 = 0;
SELECT
    "sequence", "idx", "rollout", "rule", "advice", "inputs", "automatic", "given_at"
FROM advice WHERE 1 = 0;
SELECT
    "rollout", "status", "score", "deductions", "changed_at", "updated_sequence"
FROM health WHERE 1 = 0;
SELECT
    "sequence", "idx", "recorded_at", "actor", "event", "rollout", "aggregate", "subject",
    "sentence"
FROM timeline WHERE 1 = 0;
SELECT
    "sequence", "idx", "recorded_at", "aggregate", "event", "reason"
FROM anomalies WHERE 1 = 0;
