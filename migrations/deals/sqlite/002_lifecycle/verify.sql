-- Shape only: the columns of migration 002 and its index.
BEGIN;
CREATE TEMP TABLE migration_guard (
  columns_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 002 is not in place: deals lacks one of its columns"
    CHECK (columns_present),
  index_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 002 is not in place: its index is missing"
    CHECK (index_present)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (
  SELECT wanted.column1 FROM (VALUES
    ('target_locked'), ('buyer_locked'), ('locked_at'), ('locked_by'),
    ('last_accessed_at'), ('deleted_at')
  ) AS wanted
  WHERE wanted.column1 NOT IN (SELECT name FROM pragma_table_info('deals'))),
  EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_live');
ROLLBACK;
