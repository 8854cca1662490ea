-- Takes the columns with their values. Refused while deals are soft-deleted: without the column
-- they would be alive again.
BEGIN;
SET LOCAL lock_timeout = '5s';

LOCK TABLE deals IN ACCESS EXCLUSIVE MODE;
DO $$
BEGIN
  IF EXISTS (SELECT FROM deals WHERE deleted_at IS NOT NULL) THEN
    RAISE EXCEPTION 'RB-MIGRATE-3: % deals are soft-deleted and would come back to life',
      (SELECT count(*) FROM deals WHERE deleted_at IS NOT NULL)
      USING HINT = 'Purge or restore them, then revert 002 again. Nothing was changed.';
  END IF;
END $$;

DROP INDEX deals_live;
ALTER TABLE deals
  DROP COLUMN target_locked,
  DROP COLUMN buyer_locked,
  DROP COLUMN locked_at,
  DROP COLUMN locked_by,
  DROP COLUMN last_accessed_at,
  DROP COLUMN deleted_at;

COMMIT;
