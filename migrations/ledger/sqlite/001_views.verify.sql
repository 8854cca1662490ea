-- Fails when a table or a column is missing. Reads no row. Columns are qualified because SQLite
-- takes an unknown name in double quotes for a text.
SELECT id, version, sequence, recorded_at, ledger, commit_id FROM view_position t WHERE 1 = 0;
SELECT rollout, sequence FROM rollouts_over t WHERE 1 = 0;
SELECT
    t."rollout", t."name", t."runbook", t."runbook_version", t."plan_digest", t."revision",
    t."revision_accepted", t."environment", t."protected", t."params", t."status",
    t."reason", t."outcome", t."summary", t."current_phase", t."health",
    t."health_score", t."open_reviews", t."opened_by", t."opened_at", t."started_at", t."closed_at",
    t."opened_sequence", t."updated_sequence"
FROM rollouts t WHERE 1 = 0;
SELECT
    t."rollout", t."phase", t."position", t."title", t."gate", t."dropped", t."updated_sequence"
FROM phases t WHERE 1 = 0;
SELECT
    t."rollout", t."step", t."phase", t."position", t."title", t."kind", t."critical",
    t."dropped", t."status", t."attempt", t."verdict", t."rule", t."message", t."worker",
    t."intent", t."started_at", t."finished_at", t."duration_ms", t."not_before",
    t."by_verification", t."effect", t."partial", t."checklist", t."evidence", t."measurements",
    t."undo_verdict", t."undo_verification", t."undo_message", t."undo_partial",
    t."undo_finished_at", t."updated_sequence"
FROM steps t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."ordinal", t."rollout", t."step", t."attempt", t."metric",
    t."value", t."decimal", t."text", t."unit", t."rule", t."verdict", t."measured_at"
FROM measurements t WHERE 1 = 0;
SELECT
    t."rollout", t."gate", t."position", t."title", t."dropped", t."status", t."reasons",
    t."decided_at", t."decided_by", t."updated_sequence"
FROM gates t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."gate", t."person", t."authentication", t."role",
    t."on_behalf_of", t."status", t."statement", t."plan_digest", t."evidence_seen",
    t."given_at", t."expires_at", t."voided_cause", t."voided_at", t."updated_sequence"
FROM sign_offs t WHERE 1 = 0;
SELECT
    t."environment", t."key", t."description", t."owner", t."mode", t."setting", t."safe",
    t."retire_by", t."bucketing", t."salt", t."archived", t."changed_by", t."reason",
    t."rollout", t."defined_at", t."changed_at", t."updated_sequence"
FROM flags t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."environment", t."key", t."change", t."before", t."after",
    t."reason", t."rollout", t."step", t."changed_by", t."authentication", t."changed_at"
FROM flag_history t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."step", t."snapshot", t."label", t."manifest",
    t."deals", t."errors", t."model_digest", t."flags_sequence", t."flags", t."taken_at"
FROM snapshots t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."step", t."snapshot", t."before_manifest",
    t."after_manifest", t."result", t."compared", t."equal", t."regressions", t."warnings",
    t."expected", t."ignored", t."missing", t."added", t."within_tolerance", t."unexpected",
    t."errors", t."type_changed", t."verdict", t."totals", t."by_type", t."superseded_by", t."made_at",
    t."updated_sequence"
FROM comparisons t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."ordinal", t."rollout", t."step", t."snapshot", t."deal_id",
    t."deal_type", t."judged_as", t."metric", t."before", t."after", t."before_text",
    t."after_text", t."rule", t."threshold"
FROM regressions t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."step", t."total", t."active", t."deleted",
    t."null_count", t."invalid_count", t."distribution", t."health_permille", t."health",
    t."report", t."taken_at"
FROM audits t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."alert", t."severity", t."step", t."status",
    t."raised", t."raised_at", t."resolved", t."resolved_at", t."updated_sequence"
FROM alerts t WHERE 1 = 0;
SELECT
    t."rollout", t."metric", t."position", t."target", t."actual", t."status", t."recorded_at",
    t."updated_sequence"
FROM success_metrics t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."notice", t."channel", t."verdict", t."message",
    t."sent_at"
FROM notices t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."point", t."phase", t."description", t."made_at"
FROM rollback_points t WHERE 1 = 0;
SELECT
    t."rollout", t."rollback", t."level", t."reason", t."undo_steps", t."running", t."left", t."not_verified", t."started_by",
    t."started_at", t."finished_at", t."verdict", t."summary", t."started_sequence",
    t."updated_sequence"
FROM rollbacks t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."rollout", t."rule", t."advice", t."inputs", t."automatic",
    t."given_at"
FROM advice t WHERE 1 = 0;
SELECT
    t."rollout", t."status", t."score", t."deductions", t."changed_at", t."updated_sequence"
FROM health t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."recorded_at", t."actor", t."event", t."rollout", t."aggregate",
    t."subject", t."sentence"
FROM timeline t WHERE 1 = 0;
SELECT
    t."sequence", t."idx", t."recorded_at", t."aggregate", t."event", t."reason"
FROM anomalies t WHERE 1 = 0;
SELECT
    t."worker", t."session", t."status", t."labels", t."concurrency", t."threads",
    t."version", t."started_at", t."joined_at", t."left_at", t."joins", t."updated_sequence"
FROM workers t WHERE 1 = 0;
SELECT
    t."environment", t."protected", t."terms", t."revision", t."pending", t."changed_by",
    t."changed_at", t."reason", t."updated_sequence"
FROM environments t WHERE 1 = 0;
SELECT
    t."rollout", t."revision", t."plan_digest", t."status", t."reason", t."proposed_by",
    t."proposed_at", t."decided_by", t."decided_at", t."difference", t."changes",
    t."difference_sha256", t."difference_bytes", t."params", t."outline", t."updated_sequence"
FROM revisions t WHERE 1 = 0;
SELECT
    t."aggregate", t."request", t."kind", t."rollout", t."environment", t."flag", t."verb",
    t."what", t."reason", t."rule", t."made_by", t."made_at", t."due_at", t."status",
    t."ended_by", t."ended_at", t."note", t."made_sequence", t."updated_sequence"
FROM requests t WHERE 1 = 0;
