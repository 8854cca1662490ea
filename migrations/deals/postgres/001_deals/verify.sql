-- Shape only: the columns of migration 001 with their types.
DO $$
DECLARE
  missing text;
BEGIN
  SELECT string_agg(wanted.name || ' ' || wanted.type, ', ' ORDER BY wanted.name) INTO missing
  FROM (VALUES
    ('id', 'character varying'), ('tenant_id', 'character varying'),
    ('owner_id', 'character varying'), ('name', 'character varying'),
    ('target_name', 'character varying'), ('buyer_name', 'character varying'),
    ('deal_type', 'character varying'), ('industry', 'character varying'),
    ('sub_industry', 'character varying'), ('deal_value', 'character varying'),
    ('status', 'character varying'), ('inventory', 'jsonb'),
    ('created_at', 'timestamp with time zone'), ('updated_at', 'timestamp with time zone')
  ) AS wanted (name, type)
  WHERE NOT EXISTS (
    SELECT FROM information_schema.columns AS c
    WHERE c.table_schema = current_schema() AND c.table_name = 'deals'
      AND c.column_name = wanted.name AND c.data_type = wanted.type);
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-2: migration 001 is not in place: deals lacks %', missing;
  END IF;
END $$;
