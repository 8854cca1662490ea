-- The deals table as the deal tool first had it: deal_type is nullable and unconstrained.
-- Its one change fails by itself where the table exists: safe with any client.
SAVEPOINT migration_001;

DROP TABLE IF EXISTS temp.migration_guard;
CREATE TEMP TABLE migration_guard (
  passed INTEGER CONSTRAINT "RB-MIGRATE-1: table deals exists; migration 001 is already deployed; nothing was changed" CHECK (passed)
);
INSERT INTO temp.migration_guard
SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'deals');
DROP TABLE temp.migration_guard;

-- inventory is one JSON array of inventory items, NULL when empty; deal_value is a range as text.
-- Times are UTC in RFC 3339.
CREATE TABLE deals (
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
  updated_at          TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

RELEASE migration_001;
