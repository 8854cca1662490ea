-- Progress counters, and the free-form context and settings of a deal.
--
-- Safe with any client, also one that goes on after an error: ../README.md says how.
PRAGMA legacy_alter_table = OFF;
DROP VIEW IF EXISTS temp.migration_refused;
DROP TABLE IF EXISTS temp.migration_passed;
DROP TABLE IF EXISTS temp.migration_guard;
DROP TABLE IF EXISTS temp.migration_done;
CREATE TEMP VIEW migration_refused AS SELECT passed FROM temp.migration_passed;
CREATE TEMP TABLE migration_guard (
  new INTEGER
    CONSTRAINT "RB-MIGRATE-1: column deals.documents_uploaded exists; migration 003 is already deployed; nothing was changed"
    CHECK (new)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: migration 003 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_003;

INSERT INTO temp.migration_guard
SELECT NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'documents_uploaded');

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;
ALTER TABLE deals_in_migration ADD COLUMN documents_uploaded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN facts_extracted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN findings_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN analysis_runs_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN review_percent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN context TEXT NOT NULL DEFAULT '{}';
ALTER TABLE deals_in_migration ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
CREATE INDEX deals_by_type ON deals_in_migration (deal_type);
ALTER TABLE deals_in_migration RENAME TO deals;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_passed')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND (SELECT count(*) = 7 FROM pragma_table_info('deals') WHERE name IN (
      'documents_uploaded', 'facts_extracted', 'findings_count', 'analysis_runs_count',
      'review_percent', 'context', 'settings'))
  AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_by_type');

RELEASE migration_003;
DROP VIEW temp.migration_refused;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
