-- Takes the columns with their values: the counters are derived, context and settings are not, so
-- the revert is refused while any deal has some.
BEGIN;
SET LOCAL lock_timeout = '5s';

LOCK TABLE deals IN ACCESS EXCLUSIVE MODE;
DO $$
BEGIN
  IF EXISTS (SELECT FROM deals WHERE context <> '{}' OR settings <> '{}') THEN
    RAISE EXCEPTION 'RB-MIGRATE-3: % deals have context or settings that would be lost',
      (SELECT count(*) FROM deals WHERE context <> '{}' OR settings <> '{}')
      USING HINT = 'Save and empty them, then revert 003 again. Nothing was changed.';
  END IF;
END $$;

DROP INDEX deals_by_type;
ALTER TABLE deals
  DROP COLUMN documents_uploaded,
  DROP COLUMN facts_extracted,
  DROP COLUMN findings_count,
  DROP COLUMN analysis_runs_count,
  DROP COLUMN review_percent,
  DROP COLUMN context,
  DROP COLUMN settings;

COMMIT;
