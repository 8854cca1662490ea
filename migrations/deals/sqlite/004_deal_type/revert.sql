-- Restores schema and data: each row that 004 changed gets its prior value back, unless somebody
-- has given it another type since; that later decision stays. Aliases added by a person stay too.
-- Stop at the first error (sqlite3 -bail) and roll back; a refusal then changes nothing.
BEGIN IMMEDIATE;

CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-5: table deal_type_prior is missing; migration 004 is not deployed; nothing was changed" CHECK (passed)
);
INSERT INTO migration_guard
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deal_type_prior');
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

CREATE TABLE deals_rebuilt (
  id                  TEXT PRIMARY KEY NOT NULL,
  tenant_id           TEXT,
  owner_id            TEXT,
  name                TEXT NOT NULL DEFAULT '',
  target_name         TEXT NOT NULL,
  buyer_name          TEXT,
  deal_type           TEXT,
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

UPDATE deals
SET deal_type = (SELECT p.deal_type FROM deal_type_prior AS p WHERE p.deal_id = deals.id)
WHERE EXISTS (
  SELECT 1 FROM deal_type_prior AS p
  WHERE p.deal_id = deals.id AND p.mapped_type = deals.deal_type);

DROP TABLE deal_type_prior;

-- SQLite has no conditional DROP: the table stays when a person has added to it; otherwise its rows
-- go, and an empty table is what aliases.sql and the next deploy fill again.
DELETE FROM deal_type_alias
WHERE NOT EXISTS (SELECT 1 FROM deal_type_alias WHERE NOT built_in);

COMMIT;
