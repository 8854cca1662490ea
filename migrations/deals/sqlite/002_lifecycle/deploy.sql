-- Soft delete, locks and last access.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-1: column deals.deleted_at exists; migration 002 is already deployed; nothing was changed" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'deleted_at');
DROP TABLE migration_guard;

ALTER TABLE deals ADD COLUMN target_locked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN buyer_locked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deals ADD COLUMN locked_at TEXT;
ALTER TABLE deals ADD COLUMN locked_by TEXT;
ALTER TABLE deals ADD COLUMN last_accessed_at TEXT;
ALTER TABLE deals ADD COLUMN deleted_at TEXT;

-- Readers ask for the deals that are not deleted, in key order.
CREATE INDEX deals_live ON deals (id) WHERE deleted_at IS NULL;

COMMIT;
