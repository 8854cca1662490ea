-- Shape only: the columns of migration 001.
BEGIN;
CREATE TEMP TABLE migration_guard (
  columns_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 001 is not in place: deals lacks one of its columns"
    CHECK (columns_present),
  index_present INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 001 is not in place: its index is missing"
    CHECK (index_present)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (
  SELECT wanted.column1 FROM (VALUES
    ('id'), ('tenant_id'), ('owner_id'), ('name'), ('target_name'), ('buyer_name'),
    ('deal_type'), ('industry'), ('sub_industry'), ('deal_value'), ('status'),
    ('inventory'), ('created_at'), ('updated_at')
  ) AS wanted
  WHERE wanted.column1 NOT IN (SELECT name FROM pragma_table_info('deals'))),
  1;
ROLLBACK;
