-- Shape only: the columns of migration 003 and its index.
BEGIN;
CREATE TEMP TABLE migration_guard (
  columns_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 003 is not in place: deals lacks one of its columns"
    CHECK (columns_present),
  index_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 003 is not in place: its index is missing"
    CHECK (index_present)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (
  SELECT wanted.column1 FROM (VALUES
    ('documents_uploaded'), ('facts_extracted'), ('findings_count'),
    ('analysis_runs_count'), ('review_percent'), ('context'), ('settings')
  ) AS wanted
  WHERE wanted.column1 NOT IN (SELECT name FROM pragma_table_info('deals'))),
  EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_by_type');
ROLLBACK;
