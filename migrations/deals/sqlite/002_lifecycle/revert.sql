-- Takes the columns with their values. Refused while deals are soft-deleted: without the column
-- they would be alive again.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-3: deals are soft-deleted and would come back to life; purge or restore them first" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (SELECT 1 FROM deals WHERE deleted_at IS NOT NULL);
DROP TABLE migration_guard;

DROP INDEX deals_live;
ALTER TABLE deals DROP COLUMN target_locked;
ALTER TABLE deals DROP COLUMN buyer_locked;
ALTER TABLE deals DROP COLUMN locked_at;
ALTER TABLE deals DROP COLUMN locked_by;
ALTER TABLE deals DROP COLUMN last_accessed_at;
ALTER TABLE deals DROP COLUMN deleted_at;

COMMIT;
