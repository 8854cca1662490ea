-- Shape only: the columns of migration 002 with their types, and its index.
DO $$
DECLARE
  missing text;
BEGIN
  SELECT string_agg(wanted.name || ' ' || wanted.type, ', ' ORDER BY wanted.name) INTO missing
  FROM (VALUES
    ('target_locked', 'boolean'), ('buyer_locked', 'boolean'),
    ('locked_at', 'timestamp with time zone'), ('locked_by', 'character varying'),
    ('last_accessed_at', 'timestamp with time zone'), ('deleted_at', 'timestamp with time zone')
  ) AS wanted (name, type)
  WHERE NOT EXISTS (
    SELECT FROM information_schema.columns AS c
    WHERE c.table_schema = current_schema() AND c.table_name = 'deals'
      AND c.column_name = wanted.name AND c.data_type = wanted.type);
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 002 is not in place: deals lacks %', missing;
  END IF;
  IF to_regclass('deals_live') IS NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 002 is not in place: index deals_live is missing';
  END IF;
END $$;
