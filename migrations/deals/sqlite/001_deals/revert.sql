-- Takes the table with its rows: there is no schema before 001 that could hold them. Refused while
-- something that 001 did not make hangs on it.
--
-- Safe with any client, also one that goes on after an error: ../README.md says how.
PRAGMA legacy_alter_table = OFF;
DROP VIEW IF EXISTS temp.migration_refused;
DROP TABLE IF EXISTS temp.migration_passed;
DROP TABLE IF EXISTS temp.migration_guard;
DROP TABLE IF EXISTS temp.migration_done;
CREATE TEMP VIEW migration_refused AS SELECT passed FROM temp.migration_passed;
CREATE TEMP TABLE migration_guard (
  deployed INTEGER
    CONSTRAINT "RB-MIGRATE-5: table deals is missing; migration 001 is not deployed; nothing was changed"
    CHECK (deployed),
  alone INTEGER
    CONSTRAINT "RB-MIGRATE-6: deals has columns, indexes or triggers that migration 001 did not make, or a view or trigger reads it; nothing was changed"
    CHECK (alone),
  unreferenced INTEGER
    CONSTRAINT "RB-MIGRATE-6: another table has a foreign key to deals, whose rows would be lost or left without their deal; nothing was changed"
    CHECK (unreferenced)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: the revert of migration 001 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_001;

INSERT INTO temp.migration_guard
SELECT
  EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deals'),
  NOT EXISTS (
    SELECT 1 FROM pragma_table_info('deals') WHERE name NOT IN (
      SELECT column1 FROM (VALUES ('id'), ('tenant_id'), ('owner_id'), ('name'), ('target_name'), ('buyer_name'),
      ('deal_type'), ('industry'), ('sub_industry'), ('deal_value'), ('status'),
      ('inventory'), ('created_at'), ('updated_at'))))
  AND NOT EXISTS (
    SELECT 1 FROM sqlite_schema
    WHERE type IN ('trigger', 'view') AND sql LIKE '%deals%'
       OR type = 'index' AND tbl_name = 'deals' AND sql IS NOT NULL),
  NOT EXISTS (
    SELECT 1 FROM sqlite_schema AS t JOIN pragma_foreign_key_list(t.name) AS k
    WHERE t.type = 'table' AND t.name <> 'deals' AND k."table" = 'deals' COLLATE NOCASE);

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;
DROP TABLE deals_in_migration;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_passed')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deals');

RELEASE migration_001;
DROP VIEW temp.migration_refused;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
