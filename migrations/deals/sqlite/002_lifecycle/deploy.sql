-- Soft delete, locks and last access.
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
    CONSTRAINT "RB-MIGRATE-1: column deals.deleted_at exists; migration 002 is already deployed; nothing was changed"
    CHECK (new)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: migration 002 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_002;

INSERT INTO temp.migration_guard
SELECT NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'deleted_at');

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;
ALTER TABLE deals_in_migration ADD COLUMN target_locked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN buyer_locked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals_in_migration ADD COLUMN locked_at TEXT;
ALTER TABLE deals_in_migration ADD COLUMN locked_by TEXT;
ALTER TABLE deals_in_migration ADD COLUMN last_accessed_at TEXT;
ALTER TABLE deals_in_migration ADD COLUMN deleted_at TEXT;
-- Readers ask for the deals that are not deleted, in key order.
CREATE INDEX deals_live ON deals_in_migration (id) WHERE deleted_at IS NULL;
ALTER TABLE deals_in_migration RENAME TO deals;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_passed')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND (SELECT count(*) = 6 FROM pragma_table_info('deals') WHERE name IN (
      'target_locked', 'buyer_locked', 'locked_at', 'locked_by',
      'last_accessed_at', 'deleted_at'))
  AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_live');

RELEASE migration_002;
DROP VIEW temp.migration_refused;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
