-- Progress counters, and the free-form context and settings of a deal.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-1: column deals.documents_uploaded exists; migration 003 is already deployed; nothing was changed" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'documents_uploaded');
DROP TABLE migration_guard;

ALTER TABLE deals ADD COLUMN documents_uploaded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN facts_extracted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN findings_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN analysis_runs_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN review_percent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN context TEXT NOT NULL DEFAULT '{}';
ALTER TABLE deals ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

CREATE INDEX deals_by_type ON deals (deal_type);

COMMIT;
