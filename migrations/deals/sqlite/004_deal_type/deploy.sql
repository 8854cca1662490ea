-- deal_type becomes NOT NULL with the CHECK valid_deal_type.
--
-- Values are mapped through deal_type_alias (trimmed, lower case; NULL counts as ''). A value
-- without a row there is never guessed: the migration refuses with the list of them. The value that
-- each changed row had is kept in deal_type_prior, so that revert restores data and not only the
-- schema. No other column is touched. All or nothing.
--
-- SQLite cannot add NOT NULL or a CHECK to a column. A new column takes the place of the old one:
-- the table is never dropped, so that rows that refer to it, columns, indexes and views that this
-- migration does not know stay as they are. deal_type becomes the last column.
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
  new INTEGER
    CONSTRAINT "RB-MIGRATE-1: table deal_type_prior exists; migration 004 is already deployed; nothing was changed"
    CHECK (new),
  plain INTEGER
    CONSTRAINT "RB-MIGRATE-6: a trigger of deals, or an index, view, trigger or foreign key that uses deal_type or every column of deals, is not of migrations 001 to 004; drop it first and create it again after; nothing was changed"
    CHECK (plain),
  known INTEGER
    CONSTRAINT "RB-MIGRATE-4: unknown deal types; run aliases.sql, add a row to deal_type_alias for each, and deploy again; nothing was changed"
    CHECK (known)
);
CREATE TEMP TABLE migration_done (
  passed INTEGER
    CONSTRAINT "RB-MIGRATE-7: migration 004 was not done whole; all of it was taken back"
    CHECK (passed)
);

SAVEPOINT migration_004;

-- aliases.sql word for word, in this transaction; change it there and copy it (a test compares).
CREATE TABLE IF NOT EXISTS deal_type_alias (
  value     TEXT PRIMARY KEY NOT NULL
            CONSTRAINT alias_is_folded
            CHECK (value = lower(trim(value, char(32, 9, 10, 13, 11, 12)))),
  deal_type TEXT NOT NULL
            CONSTRAINT alias_deal_type CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture')),
  built_in  INTEGER NOT NULL DEFAULT 0
);

INSERT INTO deal_type_alias (value, deal_type, built_in) VALUES
  ('', 'acquisition', 1),
  ('acquisition', 'acquisition', 1),
  ('carveout', 'carveout', 1),
  ('divestiture', 'divestiture', 1),
  ('merger', 'acquisition', 1),
  ('investment', 'acquisition', 1),
  ('other', 'acquisition', 1),
  ('bolt_on', 'acquisition', 1),
  ('platform', 'acquisition', 1),
  ('carve-out', 'carveout', 1),
  ('carve_out', 'carveout', 1),
  ('spinoff', 'carveout', 1),
  ('spin-off', 'carveout', 1),
  ('sale', 'divestiture', 1),
  ('disposal', 'divestiture', 1)
ON CONFLICT (value) DO NOTHING;

-- RAISE takes computed text only since SQLite 3.47. A JSON path that is not one is refused with its
-- text in every version, so the list of unknown values is handed over as such a path.
SELECT json_extract('{}', 'RB-MIGRATE-4: unknown deal types (number of deals): ' || listed
  || '; run aliases.sql, add a row to deal_type_alias for each, and deploy again; nothing was changed')
FROM (
  SELECT group_concat('"' || deal_type || '" (' || deals || ')', ', ')
    || CASE WHEN max(kinds) > 100 THEN ' and ' || (max(kinds) - 100) || ' more' ELSE '' END AS listed
  FROM (
    SELECT d.deal_type, count(*) AS deals, count(*) OVER () AS kinds
    FROM deals AS d
    LEFT JOIN deal_type_alias AS a ON a.value = lower(trim(coalesce(d.deal_type, ''), char(32, 9, 10, 13, 11, 12)))
    WHERE a.value IS NULL
    GROUP BY d.deal_type
    ORDER BY d.deal_type
    LIMIT 100
  )
)
WHERE listed IS NOT NULL;

INSERT INTO temp.migration_guard
SELECT
  NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deal_type_prior'),
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
        OR k."table" = 'deals' COLLATE NOCASE AND k."to" = 'deal_type')),
  NOT EXISTS (
    SELECT 1 FROM deals AS d
    WHERE NOT EXISTS (
      SELECT 1 FROM deal_type_alias AS a
      WHERE a.value = lower(trim(coalesce(d.deal_type, ''), char(32, 9, 10, 13, 11, 12)))));

-- There only when the guard took its row; until then SQLite refuses to rename or drop anything.
CREATE TEMP TABLE migration_passed AS
SELECT CASE (SELECT count(*) FROM temp.migration_guard)
  WHEN 1 THEN 1 ELSE json_extract('{}', 'refused above; nothing was changed') END AS passed;

ALTER TABLE deals RENAME TO deals_in_migration;

CREATE TABLE deal_type_prior AS
SELECT d.id AS deal_id, d.deal_type AS deal_type, a.deal_type AS mapped_type
FROM deals_in_migration AS d
JOIN deal_type_alias AS a ON a.value = lower(trim(coalesce(d.deal_type, ''), char(32, 9, 10, 13, 11, 12)))
WHERE d.deal_type IS NOT a.deal_type;
CREATE UNIQUE INDEX deal_type_prior_by_deal ON deal_type_prior (deal_id);

ALTER TABLE deals_in_migration RENAME COLUMN deal_type TO deal_type_before;
ALTER TABLE deals_in_migration ADD COLUMN deal_type TEXT NOT NULL DEFAULT 'acquisition'
  CONSTRAINT valid_deal_type CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture'));
UPDATE deals_in_migration
SET deal_type = (
  SELECT a.deal_type FROM deal_type_alias AS a
  WHERE a.value = lower(trim(coalesce(deals_in_migration.deal_type_before, ''), char(32, 9, 10, 13, 11, 12))));

-- As the gate above, for the old column: it goes only when every value has its place.
CREATE TEMP VIEW migration_uncopied AS SELECT copied FROM temp.migration_copied;
CREATE TEMP TABLE migration_copied AS
SELECT CASE WHEN EXISTS (
  SELECT 1 FROM deals_in_migration AS d
  LEFT JOIN deal_type_alias AS a ON a.value = lower(trim(coalesce(d.deal_type_before, ''), char(32, 9, 10, 13, 11, 12)))
  LEFT JOIN deal_type_prior AS p ON p.deal_id = d.id
  WHERE d.deal_type IS NOT a.deal_type
     OR d.deal_type IS NOT d.deal_type_before
        AND (p.deal_type IS NOT d.deal_type_before OR p.mapped_type IS NOT d.deal_type)
) THEN json_extract('{}', 'deal types were not copied; all was taken back') ELSE 1 END AS copied;

-- An open transaction also where an error before has ended the first one.
SAVEPOINT migration_004_index;
DROP INDEX IF EXISTS deals_by_type;
ALTER TABLE deals_in_migration DROP COLUMN deal_type_before;
CREATE INDEX deals_by_type ON deals_in_migration (deal_type);
ALTER TABLE deals_in_migration RENAME TO deals;

INSERT OR ROLLBACK INTO temp.migration_done
SELECT EXISTS (SELECT 1 FROM sqlite_temp_master WHERE name = 'migration_copied')
  AND NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'deals_in_migration')
  AND (SELECT count(*) = 2 FROM sqlite_schema
    WHERE type = 'table' AND name IN ('deal_type_alias', 'deal_type_prior'))
  AND (SELECT count(*) = 2 FROM sqlite_schema
    WHERE type = 'index' AND name IN ('deal_type_prior_by_deal', 'deals_by_type'))
  AND NOT EXISTS (SELECT 1 FROM pragma_table_info('deals') WHERE name = 'deal_type_before')
  AND EXISTS (SELECT 1 FROM pragma_table_info('deals')
    WHERE name = 'deal_type' AND "notnull" = 1 AND dflt_value = '''acquisition''');

RELEASE migration_004;
DROP VIEW temp.migration_refused;
DROP VIEW temp.migration_uncopied;
DROP TABLE temp.migration_copied;
DROP TABLE temp.migration_passed;
DROP TABLE temp.migration_guard;
DROP TABLE temp.migration_done;
