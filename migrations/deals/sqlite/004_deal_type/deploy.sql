-- deal_type becomes NOT NULL with the CHECK valid_deal_type.
--
-- Values are mapped through deal_type_alias (trimmed, lower case; NULL counts as ''). A value
-- without a row there is never guessed: the migration refuses with the list of them. The value that
-- each changed row had is kept in deal_type_prior, so that revert restores data and not only the
-- schema. No other column is touched. All or nothing.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-1: table deal_type_prior exists; migration 004 is already deployed; nothing was changed" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deal_type_prior');
DROP TABLE migration_guard;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-6: deals has triggers or indexes that are not of migrations 001 to 004 and that rebuilding the table would drop; drop them first" CHECK (passed)
);
INSERT INTO migration_guard
SELECT NOT EXISTS (
  SELECT 1 FROM sqlite_schema
  WHERE tbl_name = 'deals' AND type IN ('trigger', 'index') AND sql IS NOT NULL
    AND name NOT IN ('deals_live', 'deals_by_type'));
DROP TABLE migration_guard;

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
CREATE TEMP TABLE migration_refusal (message TEXT);
INSERT INTO migration_refusal
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
DROP TABLE migration_refusal;

CREATE TABLE deal_type_prior (
  deal_id     TEXT PRIMARY KEY NOT NULL,
  deal_type   TEXT,
  mapped_type TEXT NOT NULL
);

INSERT INTO deal_type_prior (deal_id, deal_type, mapped_type)
SELECT d.id, d.deal_type, a.deal_type
FROM deals AS d
JOIN deal_type_alias AS a ON a.value = lower(trim(coalesce(d.deal_type, ''), char(32, 9, 10, 13, 11, 12)))
WHERE d.deal_type IS NOT a.deal_type;

UPDATE deals
SET deal_type = (SELECT p.mapped_type FROM deal_type_prior AS p WHERE p.deal_id = deals.id)
WHERE id IN (SELECT deal_id FROM deal_type_prior);

-- SQLite cannot add NOT NULL or a CHECK to a column: the table is rebuilt.
CREATE TABLE deals_rebuilt (
  id                  TEXT PRIMARY KEY NOT NULL,
  tenant_id           TEXT,
  owner_id            TEXT,
  name                TEXT NOT NULL DEFAULT '',
  target_name         TEXT NOT NULL,
  buyer_name          TEXT,
  deal_type           TEXT NOT NULL DEFAULT 'acquisition'
                      CONSTRAINT valid_deal_type
                      CHECK (deal_type IN ('acquisition', 'carveout', 'divestiture')),
  industry            TEXT,
  sub_industry        TEXT,
  deal_value          TEXT,
  status              TEXT NOT NULL DEFAULT 'draft',
  inventory           TEXT,
  created_at          TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  updated_at          TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  target_locked       INTEGER NOT NULL DEFAULT 0,
  buyer_locked        INTEGER NOT NULL DEFAULT 0,
  locked_at           TEXT,
  locked_by           TEXT,
  last_accessed_at    TEXT,
  deleted_at          TEXT,
  documents_uploaded  INTEGER NOT NULL DEFAULT 0,
  facts_extracted     INTEGER NOT NULL DEFAULT 0,
  findings_count      INTEGER NOT NULL DEFAULT 0,
  analysis_runs_count INTEGER NOT NULL DEFAULT 0,
  review_percent      INTEGER NOT NULL DEFAULT 0,
  context             TEXT NOT NULL DEFAULT '{}',
  settings            TEXT NOT NULL DEFAULT '{}'
);

INSERT INTO deals_rebuilt (
  id, tenant_id, owner_id, name, target_name, buyer_name, deal_type, industry, sub_industry,
  deal_value, status, inventory, created_at, updated_at, target_locked, buyer_locked,
  locked_at, locked_by, last_accessed_at, deleted_at, documents_uploaded, facts_extracted,
  findings_count, analysis_runs_count, review_percent, context, settings
)
SELECT
  id, tenant_id, owner_id, name, target_name, buyer_name, deal_type, industry, sub_industry,
  deal_value, status, inventory, created_at, updated_at, target_locked, buyer_locked,
  locked_at, locked_by, last_accessed_at, deleted_at, documents_uploaded, facts_extracted,
  findings_count, analysis_runs_count, review_percent, context, settings
FROM deals;

DROP TABLE deals;
ALTER TABLE deals_rebuilt RENAME TO deals;
CREATE INDEX deals_live ON deals (id) WHERE deleted_at IS NULL;
CREATE INDEX deals_by_type ON deals (deal_type);

COMMIT;
