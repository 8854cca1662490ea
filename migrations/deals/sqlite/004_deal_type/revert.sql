-- Restores schema and data: each row that 004 changed gets its prior value back, unless somebody
-- has given it another type since; that later decision stays. Aliases added by a person stay too.
-- As in deploy, a new column takes the place of the old one, and the table is never dropped.
--
-- Safe with any client, also one that goes on after an error: ../README.md says how.
PRAGMA legacy_alter_table = OFF;
DROP VIEW IF EXISTS temp.migration_refused;
DROP TABLE IF EXISTS temp.migration_passed;
DROP VIEW IF EXISTS temp.migration_uncopied;
DROP TABLE IF EXISTS temp.migration_copied;
DROP TABLE IF EXISTS temp.migration_guard;
DROP TABLE IF EXISTS temp.migration_done;
CREATE TEMP VIEW migration_refused AS SELECT passed FROM temp.migration_passed;
CREATE TEMP TABLE migration_guard (
  deployed INTEGER
    CONSTRAINT "RB-MIGRATE-5: table deal_type_prior is missing; migration 004 is not deployed; nothing was changed"
    CHECK (deployed),
  plain INTEGER
    CONSTRAINT "RB-MIGRATE-6: a trigger of deals, or an index, view, trigger or foreign key that uses deal_type or every column of deals, is not of migrations 001 to 004; drop it first and create it again after; nothing was changed"
    CHECK (plain)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: the revert of migration 004 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_004;

INSERT INTO temp.migration_guard
SELECT
  EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deal_type_prior'),
  NOT EXISTS (
    SELECT 1 FROM sqlite_schema
    WHERE type = 'trigger' AND tbl_name = 'deals'
       OR type IN ('trigger', 'view')
          AND (sql LIKE '%deal_type%' OR sql LIKE '%deals%' AND sql LIKE '%*%')
       OR type = 'index' AND tbl_name = 'deals' AND sql LIKE '%deal_type%' AND name <> 'deals_by_type')
  AND NOT EXISTS (
    SELECT 1 FROM sqlite_schema AS t JOIN pragma_foreign_key_list(t.name) AS k
    WHERE t.type = 'table'
      AND (t.name = 'deals' AND k."from" = 'deal_type'
        OR k."table" = 'deals' COLLATE NOCASE AND k."to" = 'deal_type'));

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;

ALTER TABLE deals_in_migration RENAME COLUMN deal_type TO deal_type_after;
ALTER TABLE deals_in_migration ADD COLUMN deal_type TEXT;
UPDATE deals_in_migration SET deal_type = deal_type_after;
UPDATE deals_in_migration
SET deal_type = (
  SELECT p.deal_type FROM deal_type_prior AS p WHERE p.deal_id = deals_in_migration.id)
WHERE EXISTS (
  SELECT 1 FROM deal_type_prior AS p
  WHERE p.deal_id = deals_in_migration.id AND p.mapped_type = deals_in_migration.deal_type_after);

-- As the gate above, for what is dropped now: it goes only when every value has its place.
CREATE TEMP VIEW migration_uncopied AS SELECT copied FROM temp.migration_copied;
CREATE TEMP TABLE migration_copied AS
SELECT CASE WHEN EXISTS (
  SELECT 1 FROM deals_in_migration AS d
  LEFT JOIN deal_type_prior AS p ON p.deal_id = d.id AND p.mapped_type = d.deal_type_after
  WHERE d.deal_type IS NOT (CASE WHEN p.deal_id IS NULL THEN d.deal_type_after ELSE p.deal_type END)
) THEN json_extract('{}', 'deal types were not restored; all was taken back') ELSE 1 END AS copied;

-- An open transaction also where an error before has ended the first one.
SAVEPOINT migration_004_index;
DROP INDEX IF EXISTS deals_by_type;
ALTER TABLE deals_in_migration DROP COLUMN deal_type_after;
CREATE INDEX deals_by_type ON deals_in_migration (deal_type);
ALTER TABLE deal_type_prior RENAME TO deal_type_prior_reverted;
DROP TABLE deal_type_prior_reverted;

-- SQLite has no conditional DROP: the table stays when a person has added to it; otherwise its rows
-- go, and an empty table is what aliases.sql and the next deploy fill again.
DELETE FROM deal_type_alias
WHERE NOT EXISTS (SELECT 1 FROM deal_type_alias WHERE NOT built_in)
  AND EXISTS (SELECT 1 FROM temp.migration_copied);

ALTER TABLE deals_in_migration RENAME TO deals;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_copied')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name IN (
      'deal_type_prior', 'deal_type_prior_reverted'))
  AND NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'deal_type_after')
  AND EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'deals_by_type')
  AND EXISTS (SELECT 1 FROM pragma_table_info('deals')
    WHERE name = 'deal_type' AND "notnull" = 0 AND dflt_value IS NULL);

RELEASE migration_004;
DROP VIEW temp.migration_refused;
DROP VIEW temp.migration_uncopied;
DROP TABLE temp.migration_copied;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
