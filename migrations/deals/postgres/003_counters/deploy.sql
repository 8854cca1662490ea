-- Progress counters, and the free-form context and settings of a deal.
BEGIN;
SET LOCAL lock_timeout = '5s';

DO $$
BEGIN
  IF EXISTS (
    SELECT FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = 'deals'
      AND column_name = 'documents_uploaded')
  THEN
    RAISE EXCEPTION
      'RB-MIGRATE-1: column deals.documents_uploaded exists; migration 003 is already deployed'
      USING HINT = 'Nothing was changed.';
  END IF;
END $$;

ALTER TABLE deals
  ADD COLUMN documents_uploaded  integer NOT NULL DEFAULT 0,
  ADD COLUMN facts_extracted     integer NOT NULL DEFAULT 0,
  ADD COLUMN findings_count      integer NOT NULL DEFAULT 0,
  ADD COLUMN analysis_runs_count integer NOT NULL DEFAULT 0,
  ADD COLUMN review_percent      integer NOT NULL DEFAULT 0,
  ADD COLUMN context             jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN settings            jsonb NOT NULL DEFAULT '{}';

CREATE INDEX deals_by_type ON deals (deal_type);

COMMIT;
