-- Shape only: NOT NULL, the default, the CHECK, both tables, and the indexes of 002 and 003.
BEGIN;
CREATE TEMP TABLE migration_guard (
  constrained INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 004 is not in place: deals.deal_type allows NULL or has no default"
    CHECK (constrained),
  checked INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 004 is not in place: CHECK valid_deal_type is missing"
    CHECK (checked),
  tables INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 004 is not in place: deal_type_alias or deal_type_prior is missing"
    CHECK (tables),
  indexes INTEGER
    CONSTRAINT "RB-MIGRATE-2: migration 004 is not in place: an index of deals is missing"
    CHECK (indexes)
);
INSERT INTO migration_guard
SELECT
  EXISTS (SELECT 1 FROM pragma_table_info('deals')
    WHERE name = 'deal_type' AND "notnull" = 1 AND dflt_value = '''acquisition'''),
  EXISTS (SELECT 1 FROM sqlite_schema
    WHERE type = 'table' AND name = 'deals'
      AND sql LIKE '%CONSTRAINT valid_deal_type%''acquisition'', ''carveout'', ''divestiture''%'),
  (SELECT count(*) = 2 FROM sqlite_schema
    WHERE type = 'table' AND name IN ('deal_type_alias', 'deal_type_prior')),
  (SELECT count(*) = 2 FROM sqlite_schema
    WHERE type = 'index' AND name IN ('deals_live', 'deals_by_type'));
ROLLBACK;
