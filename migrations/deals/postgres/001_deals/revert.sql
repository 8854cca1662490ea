-- Takes the table with its rows: there is no schema before 001 that could hold them. Refused while
-- it has columns that 001 did not make; PostgreSQL itself refuses while other tables, views or
-- functions hang on it.
BEGIN;
SET LOCAL lock_timeout = '5s';

LOCK TABLE deals IN ACCESS EXCLUSIVE MODE;
DO $$
DECLARE
  strange text;
BEGIN
  SELECT string_agg(c.column_name, ', ' ORDER BY c.column_name) INTO strange
  FROM information_schema.columns AS c
  WHERE c.table_schema = current_schema() AND c.table_name = 'deals'
    AND c.column_name NOT IN (
      'id', 'tenant_id', 'owner_id', 'name', 'target_name', 'buyer_name', 'deal_type', 'industry',
      'sub_industry', 'deal_value', 'status', 'inventory', 'created_at', 'updated_at');
  IF strange IS NOT NULL THEN
    RAISE EXCEPTION 'RB-MIGRATE-6: deals has columns that migration 001 did not make: %', strange
      USING HINT = 'Revert the later migrations first, and drop other columns. Nothing was changed.';
  END IF;
END $$;

DROP TABLE deals;
COMMIT;
