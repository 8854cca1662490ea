-- For queries only. They are made when the views have caught up with the ledger: filling tables
-- that have them takes twice as long. May be run again. They go with their tables.
CREATE INDEX IF NOT EXISTS rollouts_opened ON rollouts ("opened_sequence");
CREATE INDEX IF NOT EXISTS measurements_step ON measurements ("rollout", "step", "sequence", "idx", "ordinal");
CREATE INDEX IF NOT EXISTS sign_offs_rollout ON sign_offs ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS flag_history_flag ON flag_history ("environment", "key", "sequence", "idx");
CREATE INDEX IF NOT EXISTS snapshots_rollout ON snapshots ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS comparisons_rollout ON comparisons ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS regressions_rollout ON regressions ("rollout", "sequence", "idx", "ordinal");
CREATE INDEX IF NOT EXISTS audits_rollout ON audits ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS alerts_rollout ON alerts ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS notices_rollout ON notices ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS rollback_points_rollout ON rollback_points ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS advice_rollout ON advice ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS timeline_rollout ON timeline ("rollout", "sequence", "idx");
CREATE INDEX IF NOT EXISTS workers_status ON workers ("status", "updated_sequence");
CREATE INDEX IF NOT EXISTS requests_rollout ON requests ("rollout", "made_sequence");
CREATE INDEX IF NOT EXISTS requests_flag ON requests ("environment", "flag");
CREATE INDEX IF NOT EXISTS requests_id ON requests ("request");
