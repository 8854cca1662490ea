-- Soft delete, locks and last access.
BEGIN;
SET LOCAL lock_timeout = '5s';

DO $$
BEGIN
  IF EXISTS (
    SELECT FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'deals' AND column_name = 'deleted_at')
  THEN
    RAISE EXCEPTION 'RB-MIGRATE-1: column deals.deleted_at exists; migration 002 is already deployed'
      USING HINT = 'Nothing was changed.';
  END IF;
END $$;

ALTER TABLE deals
  ADD COLUMN target_locked    boolean NOT NULL DEFAULT false,
  ADD COLUMN buyer_locked     boolean NOT NULL DEFAULT false,
  ADD COLUMN locked_at        timestamptz,
  ADD COLUMN locked_by        varchar(36),
  ADD COLUMN last_accessed_at timestamptz,
  ADD COLUMN deleted_at       timestamptz;

-- Readers ask for the deals that are not deleted, in key order.
CREATE INDEX deals_live ON deals (id) WHERE deleted_at IS NULL;

COMMIT;
