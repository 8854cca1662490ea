-- Shape only: the columns of migration 003 with their types, and its index.
DO $$
DECLARE
  missing text;
BEGIN
  SELECT string_agg(wanted.name || ' ' || wanted.type, ', ' ORDER BY wanted.name) INTO missing
  FROM (VALUES
    ('documents_uploaded', 'integer'), ('facts_extracted', 'integer'),
    ('findings_count', 'integer'), ('analysis_runs_count', 'integer'),
    ('review_percent', 'integer'), ('context', 'jsonb'), ('settings', 'jsonb')
  ) AS wanted (name, type)
  WHERE NOT EXISTS (
    SELECT FROM information_schema.columns AS c
    WHERE c.table_schema = current_schema() AND c.table_name = 'deals'
      AND c.column_name = wanted.name AND c.data_type = wanted.type);
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 003 is not in place: deals lacks %', missing;
  END IF;
  IF to_regclass('deals_by_type') IS NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 003 is not in place: index deals_by_type is missing';
  END IF;
END $$;
