-- Takes the columns with their values: the counters are derived, context and settings are not, so
-- the revert is refused while any deal has some.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-3: deals have context or settings that would be lost; save and empty them first" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (SELECT 1 FROM deals WHERE context <> '{}' OR settings <> '{}');
DROP TABLE migration_guard;

DROP INDEX deals_by_type;
ALTER TABLE deals DROP COLUMN documents_uploaded;
ALTER TABLE deals DROP COLUMN facts_extracted;
ALTER TABLE deals DROP COLUMN findings_count;
ALTER TABLE deals DROP COLUMN analysis_runs_count;
ALTER TABLE deals DROP COLUMN review_percent;
ALTER TABLE deals DROP COLUMN context;
ALTER TABLE deals DROP COLUMN settings;

COMMIT;
