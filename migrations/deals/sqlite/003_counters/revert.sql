-- Takes the columns with their values: the counters are derived, context and settings are not, so
-- the revert is refused while any deal has some.
--
-- Safe with any client, also one that goes on after an error: ../README.md says how.
PRAGMA legacy_alter_table = OFF;
DROP VIEW IF EXISTS temp.migration_refused;
DROP TABLE IF EXISTS temp.migration_passed;
DROP TABLE IF EXISTS temp.migration_guard;
DROP TABLE IF EXISTS temp.migration_done;
CREATE TEMP VIEW migration_refused AS SELECT passed FROM temp.migration_passed;
CREATE TEMP TABLE migration_guard (
  kept INTEGER
    CONSTRAINT "RB-MIGRATE-3: deals have context or settings that would be lost; save and empty them first; nothing was changed"
    CHECK (kept)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: the revert of migration 003 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_003;

INSERT INTO temp.migration_guard
SELECT NOT EXISTS (SELECT 1 FROM deals WHERE context <> '{}' OR settings <> '{}');

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;
-- An open transaction also where an error before has ended the first one.
SAVEPOINT migration_003_index;
DROP INDEX IF EXISTS deals_by_type;
ALTER TABLE deals_in_migration DROP COLUMN documents_uploaded;
ALTER TABLE deals_in_migration DROP COLUMN facts_extracted;
ALTER TABLE deals_in_migration DROP COLUMN findings_count;
ALTER TABLE deals_in_migration DROP COLUMN analysis_runs_count;
ALTER TABLE deals_in_migration DROP COLUMN review_percent;
ALTER TABLE deals_in_migration DROP COLUMN context;
ALTER TABLE deals_in_migration DROP COLUMN settings;
ALTER TABLE deals_in_migration RENAME TO deals;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_passed')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name IN (
      'documents_uploaded', 'facts_extracted', 'findings_count', 'analysis_runs_count',
      'review_percent', 'context', 'settings'))
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_by_type')
  AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deals');

RELEASE migration_003;
DROP VIEW temp.migration_refused;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
